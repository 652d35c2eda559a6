"""``greenpool.os``: reads, writes and waits for children park, and mean the same as the system calls."""

from __future__ import annotations

import errno
import os as standard
import pty
import select
import signal
import socket as standard_socket
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import os
from greenpool._core import native
from greenpool._fd import watched_children, workers
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = standard.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            standard.close(fd)
        except OSError as error:
            assert error.errno == errno.EBADF  # the test has closed it


# Reading and writing.


def read(fd: int) -> bytes:
    return os.read(fd, 100)


def readv(fd: int) -> bytes:
    buffers = [bytearray(2), bytearray(98)]
    count = os.readv(fd, buffers)
    return b"".join(buffers)[:count]


@pytest.mark.parametrize("read", [read, readv])
def test_read_parks(read: Callable[[int], bytes], pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    waiting = greenpool.spawn(read, reading)
    greenpool.spawn(os.write, writing, b"hello")
    assert waiting.get() == b"hello"
    standard.close(writing)
    assert read(reading) == b""


def test_a_pipe_is_left_blocking(pipe: tuple[int, int]) -> None:
    """Every process that has the pipe would see the flag."""
    waiting = greenpool.spawn(os.read, pipe[0], 1)
    greenpool.spawn(os.write, pipe[1], b"x").join()
    waiting.join()
    assert standard.get_blocking(pipe[0]) and standard.get_blocking(pipe[1])


@pytest.mark.parametrize("size", [4096, 4097, 1_000_000])
def test_write_parks_until_all_is_written(size: int, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    data = bytes(number % 251 for number in range(size))
    standard.write(writing, b"-" * 50_000)
    waiting = greenpool.spawn(os.write, writing, data)
    received = b""
    while len(received) < 50_000 + size:
        received += os.read(reading, 70_000)
    assert waiting.get() == size
    assert received == b"-" * 50_000 + data


def test_writev_parks(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    waiting = greenpool.spawn(os.writev, writing, [b"a" * 100_000, memoryview(b"bc")])
    received = b""
    while not received.endswith(b"c"):
        received += os.read(reading, 70_000)
    assert waiting.get() == 100_002
    assert received == b"a" * 100_000 + b"bc"


def test_several_wait_for_room(pipe: tuple[int, int]) -> None:
    """The writers are woken together, and those that find no room left wait on."""
    reading, writing = pipe
    writers = [greenpool.spawn(os.write, writing, bytes(100_000)) for _ in range(3)]
    received = 0
    while received < 300_000:
        received += len(os.read(reading, 10_000))
    assert [writer.get() for writer in writers] == [100_000] * 3


def test_two_writers_do_not_mix_small_writes(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    standard.write(writing, b"-" * 65_536)
    lines = [f"{number:4095}\n".encode() for number in range(30)]
    writers = [greenpool.spawn(os.write, writing, line) for line in lines]
    received = b""
    while len(received) < 65_536 + 30 * 4096:
        received += os.read(reading, 4096)
    greenpool.joinall(writers, raise_error=True)
    assert sorted(received[65_536:].splitlines(keepends=True)) == sorted(lines)


def test_a_reader_that_goes_away(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    waiting = greenpool.spawn(os.write, writing, bytes(1_000_000))
    os.read(reading, 4096)
    standard.close(reading)
    # As with the system call, the count of written bytes comes first, then the error.
    assert 4096 <= waiting.get() < 1_000_000
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")


def test_a_non_blocking_pipe_stays_so(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    standard.set_blocking(reading, False)
    standard.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    assert 0 < os.write(writing, bytes(1_000_000)) < 1_000_000
    with pytest.raises(BlockingIOError):
        os.write(writing, b"x")


def test_the_wrong_end_of_a_pipe(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    for use in (lambda: os.write(reading, b"x"), lambda: os.read(writing, 1)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            use()


def test_a_reader_on_another_hub_may_be_first(pipe: tuple[int, int]) -> None:
    """A reader that then finds the pipe empty parks, and does not block its hub in the system call."""
    reading, writing = pipe
    with greenpool.Runtime(pool_size=3) as runtime:
        readers = [runtime.spawn(os.read, reading, 1) for _ in range(30)]
        for _ in range(20):
            os.write(writing, b"x")
        for _ in greenpool.iwait(readers, count=20):
            pass
        handle = runtime.handle()
        assert [handle.spawn_on(hub, lambda: 7).get() for hub in range(3)] == [7, 7, 7]
        greenpool.killall(readers)
    assert sum(reader.value == b"x" for reader in readers) == 20


def test_a_writer_on_another_hub_may_be_first(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with greenpool.Runtime(pool_size=3) as runtime:
        writers = [runtime.spawn(os.write, writing, bytes(100_000)) for _ in range(6)]
        received = 0
        while received < 600_000:
            received += len(os.read(reading, 10_000))
        assert [writer.get() for writer in writers] == [100_000] * 6


def test_a_signal_handler_may_write_while_its_thread_does(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    before = signal.signal(signal.SIGALRM, lambda signum, frame: os.write(writing, b"!"))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(2000):
            os.write(writing, b"-")
            os.read(reading, 100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_regular_file(tmp_path: Any) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    data = bytes(1_000_000)
    assert os.write(fd, data) == len(data)
    os.lseek(fd, 0, os.SEEK_SET)
    assert os.read(fd, len(data)) == data
    assert os.read(fd, 1) == b""
    os.close(fd)


def test_a_terminal() -> None:
    near, far = pty.openpty()
    waiting = greenpool.spawn(os.read, far, 100)
    greenpool.spawn(os.write, near, b"a line\n")
    assert waiting.get() == b"a line\n"
    os.close(far)
    os.close(near)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("read", (-1, 1)),
        ("read", ("a", 1)),
        ("read", (0, -1)),
        ("read", (2**40, 1)),
        ("readv", (-1, [bytearray(1)])),
        ("write", (-1, b"x")),
        ("write", (-1, bytes(10_000))),
        ("write", ("a", b"x")),
        ("write", (1, "text")),
        ("writev", (-1, [b"x"])),
    ],
)
def test_refuses_what_the_standard_one_refuses(function: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((OSError, TypeError, OverflowError)) as expected:
        getattr(standard, function)(*arguments)
    with pytest.raises(expected.type) as caught:
        getattr(os, function)(*arguments)
    assert getattr(caught.value, "errno", None) == getattr(expected.value, "errno", None)


# Children.


def child_that_ends_when(event: Event, status: int) -> int:
    """Fork a child that exits with *status* once *event* is set here."""
    reading, writing = standard.pipe()
    pid = fork()
    if not pid:
        standard.close(writing)
        standard.read(reading, 1)
        standard._exit(status)
    standard.close(reading)

    def let_go() -> None:
        event.wait()
        standard.close(writing)

    greenpool.spawn(let_go)
    return pid


def fork() -> int:
    # CPython 3.12 and newer warn if the process has other threads. These children do nothing.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def wait_waitpid(pid: int) -> int:
    found, status = os.waitpid(pid, 0)
    assert found == pid
    return os.waitstatus_to_exitcode(status)


def wait_waitpid_group(pid: int) -> int:
    found, status = os.waitpid(0, 0)
    assert found == pid
    return os.waitstatus_to_exitcode(status)


def wait_waitpid_with_stops(pid: int) -> int:
    found, status = os.waitpid(pid, os.WUNTRACED | os.WCONTINUED)
    assert found == pid
    return os.waitstatus_to_exitcode(status)


def wait_wait(pid: int) -> int:
    found, status = os.wait()
    assert found == pid
    return os.waitstatus_to_exitcode(status)


def wait_wait3(pid: int) -> int:
    found, status, usage = os.wait3(0)
    assert found == pid and usage.ru_utime >= 0
    return os.waitstatus_to_exitcode(status)


def wait_wait4(pid: int) -> int:
    found, status, usage = os.wait4(pid, 0)
    assert found == pid and usage.ru_utime >= 0
    return os.waitstatus_to_exitcode(status)


def wait_waitid(pid: int) -> int:
    found = os.waitid(os.P_PID, pid, os.WEXITED)
    assert found is not None and found.si_pid == pid
    return found.si_status


def wait_waitid_all(pid: int) -> int:
    found = os.waitid(os.P_ALL, 0, os.WEXITED)
    assert found is not None and found.si_pid == pid
    return found.si_status


WAYS = [
    wait_waitpid,
    wait_waitpid_group,
    wait_waitpid_with_stops,
    wait_wait,
    wait_wait3,
    wait_wait4,
    wait_waitid,
    wait_waitid_all,
]


@pytest.mark.parametrize("wait", WAYS)
def test_waiting_for_a_child_parks(wait: Callable[[int], int]) -> None:
    event = Event()
    pid = child_that_ends_when(event, 7)
    waiting = greenpool.spawn(wait, pid)
    greenpool.sleep(0.005)
    assert not waiting.ready()
    event.set()
    assert waiting.get() == 7
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def no_pidfd(pid: int, flags: int = 0) -> int:
    raise OSError(errno.ENOSYS, "no such system call")


@pytest.mark.parametrize("wait", WAYS)
def test_without_pidfd(wait: Callable[[int], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard, "pidfd_open", no_pidfd, raising=False)
    event = Event()
    pid = child_that_ends_when(event, 7)
    waiting = greenpool.spawn(wait, pid)
    greenpool.sleep(0.005)
    assert not waiting.ready()
    event.set()
    assert waiting.get() == 7


class StandInKqueue:
    """The kqueue of macOS, with a pidfd inside."""

    pidfd_open = getattr(standard, "pidfd_open", None)

    def control(self, events: list[tuple[Any, ...]], most: int, timeout: float) -> list[Any]:
        ((pid, which, flags, what),) = events
        assert (which, flags, what, most, timeout) == ("PROC", 1 | 2, "EXIT", 0, 0)
        self.fd = StandInKqueue.pidfd_open(pid)  # type: ignore[misc]
        return []

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        if hasattr(self, "fd"):
            standard.close(self.fd)


@pytest.mark.skipif(not hasattr(standard, "pidfd_open"), reason="the stand-in needs a pidfd")
def test_by_kqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(standard, "pidfd_open")
    monkeypatch.setattr(native, "kqueue", StandInKqueue)
    names = {
        "kevent": lambda *arguments: arguments,
        "KQ_FILTER_PROC": "PROC",
        "KQ_EV_ADD": 1,
        "KQ_EV_ONESHOT": 2,
        "KQ_NOTE_EXIT": "EXIT",
    }
    for name, value in names.items():
        monkeypatch.setattr(select, name, value, raising=False)
    event = Event()
    pid = child_that_ends_when(event, 7)
    waiting = greenpool.spawn(wait_waitpid, pid)
    greenpool.sleep(0.005)
    assert not waiting.ready()
    event.set()
    assert waiting.get() == 7


@pytest.mark.parametrize("pidfd", [True, False])
def test_a_wait_that_is_given_up_takes_nobodys_status_away(
    pidfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pidfd:
        monkeypatch.setattr(standard, "pidfd_open", no_pidfd, raising=False)
    event = Event()
    pid = child_that_ends_when(event, 9)
    given_up = [greenpool.spawn(wait, pid) for wait in WAYS]
    greenpool.sleep(0.005)
    greenpool.killall(given_up)
    event.set()
    assert wait_waitpid(pid) == 9


@pytest.fixture
def threads_started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The OS threads that are started to wait for something."""
    started: list[object] = []
    start = native.start_new_thread

    def start_new_thread(function: Callable[..., object], args: tuple[Any, ...]) -> int:
        started.append(function)
        return start(function, args)

    monkeypatch.setattr(native, "start_new_thread", start_new_thread)
    monkeypatch.setattr(workers, "start_new_thread", start_new_thread)
    return started


@pytest.mark.parametrize("wait", [wait_wait, wait_waitid_all, wait_waitpid_group, wait_waitpid_with_stops])
def test_waits_that_are_given_up_leave_one_thread_behind_at_most(
    wait: Callable[[int], int], threads_started: list[object]
) -> None:
    event = Event()
    pid = child_that_ends_when(event, 9)
    for _ in range(20):
        given_up = greenpool.spawn(wait, pid)
        greenpool.sleep(0)
        given_up.kill()
    assert len(threads_started) <= 1
    waiting = greenpool.spawn(wait, pid)
    event.set()
    assert waiting.get() == 9


def test_of_several_waits_for_any_child_each_gets_another_one() -> None:
    events = [Event() for _ in range(4)]
    pids = [child_that_ends_when(event, 0) for event in events]
    with greenpool.Runtime(pool_size=2) as runtime:
        waiting = [spawn(os.waitpid, -1, 0) for spawn in (greenpool.spawn, runtime.spawn) * 2]
        for event in events:
            event.set()
        assert sorted(greenlet.get()[0] for greenlet in waiting) == sorted(pids)


@pytest.mark.skipif(not hasattr(standard, "pidfd_open"), reason="without pidfds a number is waited for")
def test_a_child_whose_number_another_process_has_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code reaps the child after os.waitpid found it running, and before os.waitpid watches it."""
    event = Event()
    pid = child_that_ends_when(event, 0)

    def pidfd_of_another_process(number: int) -> int:
        standard.kill(number, signal.SIGKILL)
        standard.waitpid(number, 0)
        return StandInKqueue.pidfd_open(standard.getpid())  # type: ignore[misc, no-any-return]

    monkeypatch.setattr(standard, "pidfd_open", pidfd_of_another_process)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    event.set()
    greenpool.sleep(0)  # lets the greenlet close the pipe


def test_a_wait_for_any_child_in_the_child_of_a_fork() -> None:
    """The thread that waits in the parent does not exist in the child."""
    event = Event()
    pid = child_that_ends_when(event, 0)
    in_parent = greenpool.spawn(os.waitid, os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    greenpool.sleep(0)

    def forking() -> int:
        child = fork()
        if not child:
            try:
                grandchild = child_that_ends_when(Event(), 0)
                greenpool.spawn(standard.kill, grandchild, signal.SIGKILL)
                standard._exit(0 if os.waitpid(-1, 0) == (grandchild, signal.SIGKILL) else 1)
            finally:
                standard._exit(2)
        return wait_waitpid(child)

    assert greenpool.spawn(forking).get() == 0
    event.set()
    in_parent.join()
    assert wait_waitpid(pid) == 0


def test_many_children_at_the_same_time() -> None:
    event = Event()
    pids = [child_that_ends_when(event, number) for number in range(20)]
    waiting = [greenpool.spawn(wait_waitpid, pid) for pid in pids]
    event.set()
    assert [greenlet.get() for greenlet in waiting] == list(range(20))


def test_waiting_without_hanging() -> None:
    event = Event()
    pid = child_that_ends_when(event, 0)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is None
    event.set()
    assert os.waitpid(pid, 0) == (pid, 0)


def test_stops_are_reported_where_asked_for() -> None:
    event = Event()
    pid = child_that_ends_when(event, 0)
    waiting = greenpool.spawn(os.waitpid, pid, os.WUNTRACED)
    greenpool.sleep(0.005)
    os.kill(pid, signal.SIGSTOP)
    found, status = waiting.get()
    assert found == pid and os.WIFSTOPPED(status)
    waiting = greenpool.spawn(os.waitpid, pid, 0)
    os.kill(pid, signal.SIGCONT)
    event.set()
    assert waiting.get() == (pid, 0)


def test_nobody_to_wait_for() -> None:
    # The process is a new one, because this one may have other children, for example multiprocessing's
    # tracker.
    program = """
from greenpool import os
for wait in (os.wait, lambda: os.waitpid(-1, 0), lambda: os.waitid(os.P_ALL, 0, os.WEXITED)):
    try:
        raise AssertionError(wait())
    except ChildProcessError:
        pass
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_waitid_by_pidfd() -> None:
    event = Event()
    pid = child_that_ends_when(event, 5)
    pidfd = os.pidfd_open(pid)
    waiting = greenpool.spawn(os.waitid, os.P_PIDFD, pidfd, os.WEXITED)
    greenpool.sleep(0.005)
    event.set()
    assert waiting.get().si_status == 5
    os.close(pidfd)


def test_rmtree_of_a_patched_program_follows_no_link(run_script: Callable[[str], str]) -> None:
    output = run_script("""
from greenpool import monkey
monkey.patch_all()
import os, shutil
print(os.open in os.supports_dir_fd, shutil.rmtree.avoids_symlink_attacks)
""")
    assert output == "True True\n"


def test_no_signal_handler_is_installed() -> None:
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL


def test_system_and_spawn(tmp_path: Any) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with open(fifo, "rb+", buffering=0) as writing:
        waiting = greenpool.spawn(os.system, f"read word < '{fifo}'; exit 3")
        spawned = greenpool.spawn(
            os.spawnv, os.P_WAIT, sys.executable, [sys.executable, "-c", "import sys; sys.exit(4)"]
        )
        assert spawned.get() == 4
        assert not waiting.ready()
        writing.write(b"word\n")
        assert os.waitstatus_to_exitcode(waiting.get()) == 3


def test_popen() -> None:
    with os.popen("read word; echo got $word >&2", "w") as child:
        child.write("it\n")
    with os.popen("echo one; exit 2") as child:
        assert greenpool.spawn(child.read).get() == "one\n"
        status = child.close()
    assert status is not None and os.waitstatus_to_exitcode(status) == 2
    for arguments in ((b"ls",), ("ls", "x"), ("ls", "r", 0)):
        with pytest.raises((TypeError, ValueError)):
            os.popen(*arguments)  # type: ignore[arg-type]


def test_fork_in_a_greenlet(pipe: tuple[int, int]) -> None:
    """In the child only the greenlet that forked goes on, on a hub that works."""
    reading, writing = pipe

    def other() -> None:
        greenpool.sleep(0.01)
        os.write(writing, b"other")

    def forking() -> int:
        pid = fork()
        if not pid:
            greenpool.sleep(0.02)
            os.write(writing, b"child")
            standard._exit(0)
        return wait_waitpid(pid)

    others = greenpool.spawn(other)
    assert greenpool.spawn(forking).get() == 0
    others.join()
    os.close(writing)
    received = b""
    while data := os.read(reading, 100):
        received += data
    assert received in (b"otherchild", b"childother")


def test_from_a_plain_thread(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    results: list[bytes] = []
    thread = threading.Thread(target=lambda: results.append(os.read(reading, 10)))
    thread.start()
    os.write(writing, b"x")
    greenpool.get_hub()
    thread.join()
    assert results == [b"x"]


def test_a_number_that_another_thread_has_closed_and_the_kernel_given_out_again() -> None:
    """The hub has not carried out the close yet when a greenlet reads from the new file."""
    from greenpool import socket

    def main() -> bytes:
        ours, theirs = socket.socketpair()
        with theirs:
            with greenpool.Timeout(0.001, False):
                ours.recv(1)  # registers the number
            number = ours.fileno()
            closing = threading.Thread(target=ours.close)
            closing.start()
            closing.join()
            reader, writer = standard.pipe()
            writing = threading.Timer(0.01, standard.write, (writer, b"x"))
            try:
                assert reader == number
                writing.start()
                data = os.read(reader, 1)
                writing.join()
                return data
            finally:
                standard.close(reader)
                standard.close(writer)

    with greenpool.Runtime(pool_size=1) as runtime:
        assert runtime.spawn(main).get() == b"x"


# Reading and writing: calls that need not wait, and arguments that are descriptors.


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        ("read", 0),
        ("read", -1),
        ("read", 2**100),
        ("read", "x"),
        ("read", None),
        ("readv", []),
        ("readv", [bytearray()]),
        ("readv", [b"read-only"]),
        ("readv", 3),
    ],
)
def test_nothing_and_no_size_are_not_waited_for(function: str, argument: Any, pipe: tuple[int, int]) -> None:
    """The pipe is empty, but the system call returns nothing or refuses its argument at once."""

    def outcome(module: Any) -> Any:
        try:
            return getattr(module, function)(pipe[0], argument)
        except (OSError, TypeError, OverflowError, BufferError) as error:
            return type(error), str(error)

    assert outcome(os) == outcome(standard)


def fill(fd: int) -> None:
    standard.set_blocking(fd, False)
    with pytest.raises(BlockingIOError):
        while True:
            standard.write(fd, bytes(4096))
    standard.set_blocking(fd, True)


def test_writing_nothing_to_a_full_pipe(pipe: tuple[int, int]) -> None:
    fill(pipe[1])
    assert os.write(pipe[1], b"") == os.writev(pipe[1], [b"", b""]) == 0


def test_write_refuses_what_is_not_contiguous(pipe: tuple[int, int]) -> None:
    with pytest.raises(BufferError, match="not C-contiguous"):
        os.write(pipe[1], memoryview(bytes(20_000))[::2])


def test_writev_refuses_what_is_no_sequence(pipe: tuple[int, int]) -> None:
    with pytest.raises(TypeError, match="must be a sequence"):
        os.writev(pipe[1], iter([b"x"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [standard_socket.SOCK_DGRAM, standard_socket.SOCK_SEQPACKET])
def test_a_message_is_not_split(kind: int) -> None:
    near, far = standard_socket.socketpair(standard_socket.AF_UNIX, kind)
    with near, far:
        message = bytes(10_000)
        assert os.write(near.fileno(), message) == 10_000
        assert os.writev(near.fileno(), [b"ab", message]) == 10_002
        assert [len(far.recv(20_000)), len(far.recv(20_000))] == [10_000, 10_002]
        # As with the system call, a message of no bytes is a message.
        os.write(near.fileno(), b"")
        os.write(near.fileno(), b"last")
        assert [far.recv(10), far.recv(10)] == [b"", b"last"]


@pytest.mark.parametrize("kind", [standard_socket.SOCK_STREAM, standard_socket.SOCK_DGRAM])
def test_write_parks_while_a_socket_takes_no_more(kind: int) -> None:
    near, far = standard_socket.socketpair(standard_socket.AF_UNIX, kind)
    with near, far:

        def send() -> list[int]:
            return [os.write(near.fileno(), bytes(30_000)) for _ in range(50)]

        sending = greenpool.spawn(send)
        received = 0
        while received < 50 * 30_000:
            received += len(os.read(far.fileno(), 30_000))
        assert sending.get() == [30_000] * 50


def test_a_socket_is_left_blocking() -> None:
    near, far = standard_socket.socketpair()
    with near, far:
        standard_socket.setdefaulttimeout(60)
        try:
            os.write(near.fileno(), b"x")
        finally:
            standard_socket.setdefaulttimeout(None)
        assert standard.get_blocking(near.fileno())


@pytest.mark.parametrize("writer", ["master", "slave"])
def test_a_terminal_with_little_room(writer: str) -> None:
    """A terminal is "ready" as long as it has room for one byte, and its reader shares the writer's hub."""
    near, far = pty.openpty()
    tty.setraw(far)
    writing, reading = (near, far) if writer == "master" else (far, near)

    def send() -> int:
        return sum(os.write(writing, bytes(size)) for size in (200_000, 3000, 1000))

    sending = greenpool.spawn(send)
    received = 0
    while received < 204_000:
        received += len(os.read(reading, 1000))
    assert sending.get() == 204_000
    standard.close(near)
    standard.close(far)


# gevent's functions.


def test_make_nonblocking(pipe: tuple[int, int]) -> None:
    assert os.make_nonblocking(pipe[0])
    assert not os.make_nonblocking(pipe[0])
    assert not standard.get_blocking(pipe[0])


def test_nb_read_and_nb_write_park(pipe: tuple[int, int]) -> None:
    for end in pipe:
        os.make_nonblocking(end)
    size = 300_000

    def write() -> int:
        left = size
        while left:
            left -= os.nb_write(pipe[1], b"x" * min(left, 4096))
        return size

    def read() -> int:
        count = 0
        while count < size:
            count += len(os.nb_read(pipe[0], 4096))
        return count

    reader, writer = greenpool.spawn(read), greenpool.spawn(write)
    assert writer.get() == reader.get() == size


def test_tp_read_and_tp_write_use_a_thread(pipe: tuple[int, int]) -> None:
    reader = greenpool.spawn(os.tp_read, pipe[0], 10)
    greenpool.sleep(0.001)
    assert not reader.ready()
    assert os.tp_write(pipe[1], b"text") == 4
    assert reader.get() == b"text"


def child(status: int) -> int:
    """Fork a watched child that ends at once; its number."""
    pid = os.fork_and_watch()
    if not pid:
        standard._exit(status)
    return pid


def test_a_watched_child_is_reaped_and_its_status_kept() -> None:
    ended: list[Any] = []
    done = Event()

    def callback(watcher: Any) -> None:
        ended.append(watcher)
        done.set()

    pid = os.fork_and_watch(callback)
    if not pid:
        standard._exit(7)
    assert done.wait(60)
    (watcher,) = ended
    assert (watcher.pid, watcher.rpid) == (pid, pid)
    assert standard.waitstatus_to_exitcode(watcher.rstatus) == 7
    with pytest.raises(ChildProcessError):
        standard.waitpid(pid, 0)
    assert os.waitpid(pid, 0) == (pid, watcher.rstatus)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_waits_for_watched_children() -> None:
    first = child(1)
    assert standard.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) == 1
    second, third = child(2), child(3)
    statuses = dict(os.waitpid(-1, 0) for _ in range(2))
    assert {standard.waitstatus_to_exitcode(status) for status in statuses.values()} == {2, 3}
    assert set(statuses) == {second, third}
    running = os.fork_and_watch()
    if not running:
        standard.read(standard.pipe()[0], 1)
    assert os.waitpid(running, standard.WNOHANG) == (0, 0)
    standard.kill(running, signal.SIGKILL)
    assert os.waitpid(running, 0) == (running, signal.SIGKILL)
    assert greenpool.wait(timeout=60)  # for the greenlets that watch


def test_statuses_are_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Event()
    pid = os.fork_and_watch(lambda _: done.set())
    if not pid:
        standard._exit(0)
    assert done.wait(60)
    monkeypatch.setattr(watched_children, "KEPT", -1)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_a_watched_child_with_a_terminal() -> None:
    pid, terminal = os.forkpty_and_watch()
    if not pid:
        standard.write(1, b"hello")
        standard._exit(0)
    try:
        assert os.read(terminal, 10) == b"hello"
        assert os.waitpid(pid, 0) == (pid, 0)
    finally:
        standard.close(terminal)
    assert greenpool.wait(timeout=60)  # for the greenlet that watches
