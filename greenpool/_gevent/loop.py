"""``hub.loop``: the few parts of gevent's event loop that libraries use, over a hub of greenpool.

There are timers, descriptors, wake-ups from other threads and callbacks.  Other watchers do not exist.

*Threads*: ``run_callback_threadsafe`` and ``Async.send`` are for any thread, and all else for the hub's own.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from types import TracebackType
from typing import Self
from weakref import ref

from greenpool._core.error_report import call_reported
from greenpool._core.state import HubState
from greenpool.greenlet import Greenlet
from greenpool.hub import sleep
from greenpool.socket import wait_read, wait_write

__all__ = ["READ", "WRITE", "Async", "Callback", "Io", "Loop", "Timer", "Watcher"]

READ = 1
WRITE = 2


class Callback:
    """A call that the loop will carry out; ``stop`` takes it back."""

    def __init__(self, hub: HubState, function: Callable[..., object], args: tuple[object, ...]) -> None:
        self._hub = hub
        self.callback: Callable[..., object] | None = function
        self.args: tuple[object, ...] | None = args

    @property
    def pending(self) -> bool:
        """Whether it was neither carried out nor stopped."""
        return self.callback is not None

    def stop(self) -> None:
        self.callback = self.args = None

    close = stop

    def run(self) -> None:
        """Carry it out, in the loop."""
        function, args = self.callback, self.args
        self.stop()
        if function is not None and args is not None:
            call_reported(self._hub, function, args)


class Watcher:
    """The base of what one waits for with ``hub.wait``."""

    def __init__(self, hub: HubState, ref: bool = True, priority: int | None = None) -> None:
        self._hub = hub
        self.ref = ref
        self.priority = priority
        self.callback: Callable[..., object] | None = None
        self.args: tuple[object, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it is started."""
        return self.callback is not None

    pending = False

    def start(self, callback: Callable[..., object], *args: object) -> None:
        """Have the loop call *callback*, which must not wait, whenever the event occurs."""
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        self.stop()
        self.callback, self.args = callback, args

    def stop(self) -> None:
        self.callback, self.args = None, ()

    def close(self) -> None:
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, *args: object) -> None:
        """Call the callback, in the loop."""
        if self.callback is not None:
            call_reported(self._hub, self.callback, self.args)


class Timer(Watcher):
    """Calls its callback after so many seconds, then again every *repeat* seconds."""

    def __init__(
        self, hub: HubState, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None
    ) -> None:
        if repeat < 0:
            raise ValueError(f"repeat must be positive or zero: {repeat!r}")
        super().__init__(hub, ref, priority)
        self.after = after
        self.repeat = repeat
        self._started = 0

    def start(self, callback: Callable[..., object], *args: object, update: bool | None = None) -> None:
        super().start(callback, *args)
        self._call_in(self.after)

    def again(self, callback: Callable[..., object], *args: object, update: bool | None = None) -> None:
        """Start it anew, to call in *repeat* seconds."""
        super().start(callback, *args)
        self._call_in(self.repeat)

    def stop(self) -> None:
        self._started += 1
        super().stop()

    def _call_in(self, seconds: float) -> None:
        self._hub.call_at(monotonic() + max(0.0, seconds), self._fire, self._started)

    def _fire(self, started: int) -> None:
        if started != self._started or self.callback is None:
            return
        callback, args = self.callback, self.args
        if self.repeat:
            self._call_in(self.repeat)
        else:
            self.stop()
        call_reported(self._hub, callback, args)


class Io(Watcher):
    """Calls its callback while a descriptor is ready to be read or written."""

    def __init__(
        self, hub: HubState, fd: int, events: int, ref: bool = True, priority: int | None = None
    ) -> None:
        if fd < 0:
            raise ValueError(f"fd must be non-negative: {fd!r}")
        if not events or events & ~(READ | WRITE):
            raise ValueError(f"illegal event mask: {events!r}")
        super().__init__(hub, ref, priority)
        self.fd = fd
        self.events = events
        self._waiting: list[Greenlet[None]] = []

    def start(self, callback: Callable[..., object], *args: object, pass_events: bool = False) -> None:
        super().start(callback, *args)
        for bit in (READ, WRITE):
            if self.events & bit:
                self._waiting.append(Greenlet.spawn(self._wait, bit, pass_events))

    def stop(self) -> None:
        waiting, self._waiting = self._waiting, []
        super().stop()
        for greenlet in waiting:
            greenlet.kill(block=False)

    def _wait(self, bit: int, pass_events: bool) -> None:
        while self.callback is not None:
            (wait_read if bit == READ else wait_write)(self.fd)
            self._ready((bit,) if pass_events else ())
            # It may still be ready, and the greenlet that waits for it has to have its turn.
            sleep(0)

    def _ready(self, first: tuple[int, ...]) -> None:
        # It may have been stopped meanwhile.
        if self.callback is not None:
            call_reported(self._hub, self.callback, first + self.args)


class Async(Watcher):
    """Calls its callback after ``send``, which any thread may call."""

    def send(self) -> None:
        self._hub.post(self.feed)

    def send_ignoring_arg(self, _ignored: object) -> None:
        """Do what ``send`` does; to be used as a link."""
        self.send()


class Loop:
    """The event loop of one hub."""

    backend = "greenpool"
    default = True
    error_handler: object = None
    approx_timer_resolution = 0.00001

    def __init__(self, hub: HubState) -> None:
        # Weak, because the table of gevent's hubs, which has this, must not keep that hub alive.
        self._state = ref(hub)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._state()!r}>"

    @property
    def _hub(self) -> HubState:
        hub = self._state()
        if hub is None:
            raise RuntimeError("the hub of this loop has ended with its thread")
        return hub

    def now(self) -> float:
        """The time of day, in seconds."""
        return time()

    def update_now(self) -> None:
        """Do nothing: ``now`` always asks the clock."""

    update = update_now

    def run_callback(self, function: Callable[..., object], *args: object) -> Callback:
        """Have the loop call *function*, which must not wait."""
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        callback = Callback(self._hub, function, args)
        self._hub.call_soon(callback.run)
        return callback

    def run_callback_threadsafe(self, function: Callable[..., object], *args: object) -> Callback:
        """Do what ``run_callback`` does; any thread."""
        callback = Callback(self._hub, function, args)
        self._hub.post(callback.run)
        return callback

    def timer(
        self, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None
    ) -> Timer:
        return Timer(self._hub, after, repeat, ref, priority)

    def io(self, fd: int, events: int, ref: bool = True, priority: int | None = None) -> Io:
        return Io(self._hub, fd, events, ref, priority)

    def async_(self, ref: bool = True, priority: int | None = None) -> Async:
        return Async(self._hub, ref, priority)
