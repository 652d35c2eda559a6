"""A simulated TCP socket: it listens, or is one end of a connection.  It does what Linux does.

*Connecting* takes three packets, each of which may be lost and is sent again after 1, 2, 4 ... seconds.  A
listener whose queue is full drops the first of them.  *Sending*: bytes wait in the sender's and in the
receiver's buffer; when both are full, ``send`` waits.  A reader's room is seen by the sender at once.

*Closing*: ``close`` sends the end of the stream, or a reset, if bytes are unread or SO_LINGER says so.  Bytes
that reach an end which is closed are answered by a reset.

*Threads*: as the whole network, the thread that has the run's baton.
"""

from __future__ import annotations

import _socket
import errno
from collections import deque
from functools import partial
from random import Random

from ..._core.timers import Timer
from ..._core.waits import awaited_as
from .descriptor import State
from .endpoint import Endpoint
from .fabric import ANY, LOOPBACK, Address, Fabric, Host, failure
from .path import Path
from .wire import DATA, END, ESTABLISHED, RESET, Wire

# Seconds from each try to connect to the next; then it fails with ETIMEDOUT (as in Linux: 127 in all).
TRIES = (1, 2, 4, 8, 16, 32, 64)
# Bytes of a packet without data.
PACKET = 60

# The last: Linux has it neither connect nor listen again.
NEW, LISTENING, CONNECTING, OPEN, CLOSED, UNUSABLE = range(6)


class Tcp(Endpoint):
    """What a stream socket and its duplicates share."""

    kind = _socket.SOCK_STREAM

    def __init__(self, fabric: Fabric, host: Host) -> None:
        super().__init__(fabric, host)
        self.status = NEW
        # As a listener: connections that nobody has accepted, and how many may wait.
        self.queue: deque[Tcp] = deque()
        self.backlog = 0
        # As an end of a connection: the other one, and the bytes that have come from it.
        self.peer: Tcp | None = None
        self.wire: Wire | None = None
        self.received = bytearray()
        # Whether the peer has ended its stream, and whether this end sends and reads no more.
        self.ended = False
        self.sends_no_more = False
        self.reads_no_more = False
        # The listener of an end that nobody has accepted.
        self._listener: Tcp | None = None
        # While connecting: the end at the peer, once it is made, and the next try.
        self._offer: Tcp | None = None
        self._retry: Timer | None = None
        # Whether the outcome of a connect that did not wait has still to be told.
        self._untold = False

    @property
    def listening(self) -> bool:
        return self.status == LISTENING

    # Listening.

    def listen(self, backlog: int) -> None:
        """Take connections."""
        if self.status not in (NEW, LISTENING):
            raise failure(errno.EINVAL)
        if self.local is None:
            self.host.bind(self, ANY, 0)
        if not self.host.may_listen(self):
            raise failure(errno.EADDRINUSE)
        self.backlog = max(0, backlog)
        self.status = LISTENING

    def accept(self) -> Tcp:
        """The connection that has waited longest; raises BlockingIOError if there is none."""
        if self.status != LISTENING:
            raise failure(errno.EINVAL)
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        accepted = self.queue.popleft()
        self.show()
        return accepted

    # Connecting.

    def connect(self, address: Address) -> int:
        """Begin to connect; EINPROGRESS, or the number of an error."""
        if self.status == CONNECTING:
            return errno.EALREADY
        untold, self._untold = self._untold, False
        if self.status == UNUSABLE:
            return errno.EINVAL
        if untold and (self.status == CLOSED or self.is_over):
            self.release()
            self.status = NEW
            self.local = self.remote = None
        if self.status in (LISTENING, CLOSED):
            return errno.EISCONN
        if self.status == OPEN:
            return 0 if untold else errno.EISCONN
        if untold:
            self._begin_anew()
            return self.take_error() or errno.ECONNABORTED
        target, port = address
        if target == ANY:
            target = LOOPBACK
        host = self.fabric.at(target, self.host)
        if host is None:
            return errno.ENETUNREACH
        self.bind_towards(target)
        self.remote = (target, port)
        self.status = CONNECTING
        self._untold = True
        self._offer = None
        self._try(host, 0)
        self.show()
        return errno.EINPROGRESS

    def connected(self) -> int:
        """The outcome of a connect that was waited for; EINPROGRESS if there is none yet."""
        if self.closed:
            return errno.EBADF
        if self.status == CONNECTING:
            return errno.EINPROGRESS
        self._untold = False
        if self.status == NEW:
            self._begin_anew()
        return self.take_error()

    def _begin_anew(self) -> None:
        """The failure of a connect was told."""
        self.sends_no_more = self.reads_no_more = self.ended = False

    def _try(self, host: Host, tries: int) -> None:
        if self.status != CONNECTING:
            return
        if tries >= len(TRIES):
            self._fail(errno.ETIMEDOUT)
            return
        self.fabric.path(self.host, host).carry(PACKET, partial(self._asked, host, tries))
        if self.status == CONNECTING:
            due = self.fabric.now() + TRIES[tries]
            self._retry = self.fabric.call_at(due, partial(self._try, host, tries + 1))

    def _asked(self, host: Host, tries: int) -> None:
        """The first packet has reached *host*."""
        assert self.local is not None and self.remote is not None
        if self.status != CONNECTING:
            return
        back = self.fabric.path(host, self.host)
        if self._offer is None:
            found = [end for end in host.ends_at(self.kind, *self.remote) if end.listening]
            if not found:
                back.carry(PACKET, self._refused)
                return
            listener = found[0]
            assert isinstance(listener, Tcp)
            if len(listener.queue) > listener.backlog:
                return
            self._offer = listener._offered(self)
        back.carry(PACKET, partial(self._answered, self._offer))

    def _offered(self, client: Tcp) -> Tcp:
        """As a listener: an end for *client*."""
        assert client.remote is not None
        end = Tcp(self.fabric, self.host)
        end.family = self.family
        end.status = OPEN
        end.options.update(self.options)
        end.lingers, end.linger = self.lingers, self.linger
        end.remote = client.local
        end.peer = client
        end._listener = self
        self.host.take(end, client.remote)
        end.wire = Wire(self.fabric, self.fabric.path(self.host, client.host), end, client)
        self.fabric.connections[end] = None
        return end

    def _refused(self) -> None:
        if self.status == CONNECTING:
            self._fail(errno.ECONNREFUSED)

    def _answered(self, offer: Tcp) -> None:
        """The second packet has come."""
        if self.status != CONNECTING or self._offer is not offer:
            if self.closed and self.peer is not offer:
                offer.reset()
            return
        self._forget_tries()
        self.status = OPEN
        self.peer = offer
        self.wire = Wire(self.fabric, self.fabric.path(self.host, offer.host), self, offer)
        self.fabric.connections[self] = None
        self.wire.send(ESTABLISHED)
        self.changed()

    def _fail(self, error: int) -> None:
        self._forget_tries()
        self.error = error
        self.status = NEW
        self.remote = None
        # Until the failure is told.
        self.sends_no_more = self.reads_no_more = True
        self.changed()

    def _forget_tries(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._offer = None

    # Bytes.

    def receive(self, size: int, peek: bool = False) -> bytes:
        """Up to *size* bytes, b"" at the end; raises BlockingIOError if nothing has come."""
        if self.status == LISTENING:
            raise failure(errno.ENOTCONN)
        if self.received:
            data = bytes(self.received[:size])
            if not peek:
                del self.received[:size]
                self.show()
                if self.peer is not None:
                    self.peer.changed()
            return data
        if self.ended:
            return b""
        if self.error:
            raise failure(self.take_error())
        if self.reads_no_more:
            return b""
        if self.status == NEW:
            raise failure(errno.ENOTCONN)
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    def transmit(self, data: bytes | memoryview) -> int:
        """Send as many of the bytes as there is room for; raises BlockingIOError if there is none."""
        if self.error or self.sends_no_more or self.status in (NEW, LISTENING, CLOSED, UNUSABLE):
            raise failure(self.take_error() or errno.EPIPE)
        if self.family == _socket.AF_UNIX and self.peer is not None and self.peer.closed:
            raise failure(errno.EPIPE)
        count = min(self.room(), len(data))
        if self.wire is None or (not count and len(data)):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if count:
            self.wire.send(DATA, bytes(data[:count]))
            self.show()
        return count

    def room(self) -> int:
        """How many bytes may be sent now."""
        if self.peer is None or self.wire is None:
            return 0
        capacity = self.buffer(_socket.SO_SNDBUF) + self.peer.buffer(_socket.SO_RCVBUF)
        return max(0, capacity - self.wire.flying - len(self.peer.received))

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``."""
        if how not in (_socket.SHUT_RD, _socket.SHUT_WR, _socket.SHUT_RDWR):
            raise failure(errno.EINVAL)
        if self.status == LISTENING:
            if how != _socket.SHUT_WR:
                self._refuse_queue()
                self.status = NEW
                self.changed()
            return
        connected = self.status == OPEN and not self.is_over
        if self._untold and not connected:
            self._forget_tries()
            self.release()
            self.status = UNUSABLE
        self._untold = False
        if how != _socket.SHUT_WR:
            self.reads_no_more = True
        if how != _socket.SHUT_RD:
            if connected:
                self.end_stream()
            self.sends_no_more = True
        self.changed()
        if not connected:
            raise failure(errno.ENOTCONN)

    def end_stream(self) -> None:
        """Tell the peer that nothing more comes."""
        if not self.sends_no_more and self.wire is not None:
            self.sends_no_more = True
            self.wire.send(END)
            self.changed()

    @property
    def far_host(self) -> Host | None:
        """The host of the peer."""
        return None if self.peer is None else self.peer.host

    @property
    def is_over(self) -> bool:
        """Whether both streams have ended."""
        return self.ended and self.sends_no_more

    def peer_name(self) -> Address | None:
        return self.remote if self.status == OPEN and not self.is_over else None

    # What comes from the peer.

    def arrived(self, what: int, data: bytes) -> None:
        """Called by the peer's wire."""
        if what == ESTABLISHED:
            self._established()
        elif what == RESET:
            self.reset()
        elif self.status == OPEN:
            if what == END:
                self.ended = self.reads_no_more = True
                if self.closed:
                    self.release(wait=True)
            elif self.closed or (self.sends_no_more and self.reads_no_more):
                self.error = errno.ECONNRESET
                self._answer_with_reset()
                return
            else:
                self.received += data
            self.changed()

    def _established(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None or self.status != OPEN:
            return
        if listener.status == LISTENING:
            listener.queue.append(self)
            listener.changed()
        else:
            self._answer_with_reset()

    def _answer_with_reset(self) -> None:
        if self.wire is not None:
            self.wire.send(RESET)
        self._end()

    def reset(self) -> None:
        """The peer, or the network, has reset the connection."""
        if self.status == OPEN:
            if not self.is_over:
                self.error = errno.EPIPE if self.ended else errno.ECONNRESET
            self._end()

    def gave_up(self) -> None:
        """Called by this end's wire: what was sent never arrives."""
        if self.status == OPEN:
            self.error = errno.ETIMEDOUT
            self._end()

    def _end(self) -> None:
        self.status = CLOSED
        self.sends_no_more = self.reads_no_more = True
        if self.wire is not None and self.peer is not None and self.peer.status != OPEN:
            self.wire.end()
        self.release()
        self.changed()
        if self.peer is not None:
            self.peer.changed()

    def release(self, wait: bool = False) -> None:
        self.fabric.connections.pop(self, None)
        super().release(wait)

    # Closing.

    def close(self) -> None:
        if self.status == LISTENING:
            self._refuse_queue()
            self.release()
        elif self.status == OPEN and self.wire is not None:
            if self.received or (self.lingers and not self.linger):
                self._answer_with_reset()
            else:
                was_over = self.is_over
                was_ended = self.ended
                self.end_stream()
                if was_over or was_ended:
                    self.release()
            return
        elif self.status == CONNECTING:
            self._forget_tries()
            self.release()
        else:
            self.release()
        self.status = CLOSED

    def _refuse_queue(self) -> None:
        while self.queue:
            self.queue.popleft()._answer_with_reset()

    # The state.

    def state(self) -> State:
        failed = bool(self.error)
        if self.status == LISTENING:
            return State(readable=bool(self.queue))
        if self.status == CONNECTING:
            return State()
        if self.status == NEW and not self.reads_no_more:
            return State(fresh=True)
        return State(
            readable=bool(self.received) or self.reads_no_more,
            writable=self.room() > 0 or self.sends_no_more,
            ended=self.reads_no_more,
            hung_up=self.sends_no_more and self.reads_no_more,
            failed=failed,
        )


def connected_pair(fabric: Fabric, family: int) -> tuple[Tcp, Tcp]:
    """Two ends that are connected, without addresses."""
    host = fabric.here()
    one, other = Tcp(fabric, host), Tcp(fabric, host)
    for end, peer in ((one, other), (other, one)):
        end.family = family
        end.status = OPEN
        end.peer = peer
        end.wire = Wire(fabric, Path(fabric, Random(0)), end, peer)
    return one, other


awaited_as(
    Tcp,
    "to be ready",
    wait_to_read="to have bytes",
    wait_to_accept="to have a connection",
    wait_to_write="to have room",
    wait_to_connect="to be connected",
)
