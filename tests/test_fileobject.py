"""``greenpool.fileobject``: files over pipes, terminals and sockets park; regular files use threads."""

from __future__ import annotations

import gc
import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import greenpool
from greenpool import socket
from greenpool._fd import transfer
from greenpool.fileobject import FileIO as PollerFileIO
from greenpool.fileobject import (
    FileObject,
    FileObjectBlock,
    FileObjectPosix,
    FileObjectThread,
    ThreadFileIO,
    green_io,
)

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose ends belong to the files that the test makes of them."""
    yield os.pipe()


KINDS: list[Callable[..., Any]] = [FileObject, FileObjectPosix, FileObjectThread]
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_read_parks(kind: Callable[..., Any], pipe: tuple[int, int]) -> None:
    with kind(pipe[0], "rb") as reading, kind(pipe[1], "wb") as writing:
        waiting = greenpool.spawn(reading.read)
        writing.write(b"hello")
        writing.flush()
        greenpool.sleep(0)
        assert not waiting.ready()
        writing.close()
        assert waiting.get() == b"hello"


@each_kind
def test_a_write_parks_while_the_pipe_is_full(kind: Callable[..., Any], pipe: tuple[int, int]) -> None:
    data = bytes(number % 251 for number in range(300_000))

    def send(file: Any) -> None:
        with file:
            file.write(data)

    with kind(pipe[0], "rb") as reading:
        sending = greenpool.spawn(send, kind(pipe[1], "wb"))
        greenpool.sleep(0.005)
        assert not sending.ready()
        assert reading.read() == data
        sending.get()


@each_kind
def test_lines_of_text(kind: Callable[..., Any], pipe: tuple[int, int]) -> None:
    with kind(pipe[0], "r", encoding="utf-8") as reading:
        with kind(pipe[1], "w", encoding="utf-8") as writing:
            lines = greenpool.spawn(list, reading)
            writing.write("eins\nzwölf\n")
        assert lines.get() == ["eins\n", "zwölf\n"]


def test_is_a_standard_file_object(pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb") as reading, FileObject(pipe[1], "w") as writing:
        assert isinstance(reading, io.BufferedReader) and isinstance(reading.raw, io.FileIO)
        assert isinstance(writing, io.TextIOWrapper)
        assert isinstance(writing.buffer, io.BufferedWriter)
        assert (reading.fileno(), writing.fileno()) == pipe
        assert repr(reading) == f"<_io.BufferedReader name={pipe[0]}>"


def test_unbuffered(pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb", 0) as reading, FileObject(pipe[1], "wb", 0) as writing:
        assert isinstance(reading, io.FileIO)
        waiting = greenpool.spawn(reading.read, 100)
        assert writing.write(b"word") == 4
        assert waiting.get() == b"word"
        buffer = bytearray(10)
        waiting = greenpool.spawn(reading.readinto, buffer)
        writing.write(b"more")
        assert waiting.get() == 4
        assert buffer[:4] == b"more"
    with pytest.raises(ValueError, match="closed"):
        reading.read(1)
    with pytest.raises(ValueError, match="closed"):
        writing.write(b"x")


def test_the_wrong_direction(pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb") as reading, FileObject(pipe[1], "wb", 0) as writing:
        with pytest.raises(io.UnsupportedOperation):
            reading.write(b"x")
        with pytest.raises(io.UnsupportedOperation):
            writing.read()
        with pytest.raises(io.UnsupportedOperation):
            reading.raw.write(b"x")


def test_a_descriptor_that_is_non_blocking_already(pipe: tuple[int, int]) -> None:
    for fd in pipe:
        os.set_blocking(fd, False)
    data = bytes(300_000)

    def send(file: Any) -> None:
        with file:
            file.write(data)

    with FileObject(pipe[0], "rb") as reading:
        sending = greenpool.spawn(send, FileObject(pipe[1], "wb"))
        assert reading.read() == data
        sending.get()


def test_the_descriptor_is_left_blocking(pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb"), FileObject(pipe[1], "wb"):
        assert os.get_blocking(pipe[0]) and os.get_blocking(pipe[1])


def test_greenlets_take_turns(pipe: tuple[int, int]) -> None:
    """The standard buffers call the second greenlet "reentrant", because it runs in the same thread."""
    with FileObject(pipe[0], "rb") as reading, FileObject(pipe[1], "wb") as writing:
        readers = [greenpool.spawn(reading.readline) for _ in range(3)]
        greenpool.sleep(0)
        writing.write(b"one\ntwo\nthree\n")
        writing.flush()
        assert [reader.get() for reader in readers] == [b"one\n", b"two\n", b"three\n"]


def test_writers_take_turns(pipe: tuple[int, int]) -> None:
    def send(letter: bytes) -> None:
        writing.write(letter * 100_000)

    with FileObject(pipe[0], "rb") as reading:
        with FileObject(pipe[1], "wb") as writing:
            writers = [greenpool.spawn(send, letter) for letter in (b"a", b"b", b"c")]
            received = reading.read(250_000)
            greenpool.joinall(writers, raise_error=True)
        received += reading.read()
    assert received == b"a" * 100_000 + b"b" * 100_000 + b"c" * 100_000


@pytest.mark.parametrize("wrong", [("a size",), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_a_buffer_is_free_again_after_a_call_with_wrong_arguments(
    pipe: tuple[int, int], wrong: tuple[Any, ...]
) -> None:
    with FileObject(pipe[0], "rb") as reading, FileObject(pipe[1], "wb") as writing:
        for method in (reading.readline, reading.read, reading.read1, reading.readinto, writing.write):
            with pytest.raises(TypeError):
                method(*wrong)
        writing.write(b"one\n")
        writing.flush()
        assert greenpool.spawn(reading.readline).get() == b"one\n"


def test_a_buffer_is_free_again_after_a_kill(pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb") as reading, FileObject(pipe[1], "wb") as writing:
        waiting = greenpool.spawn(reading.readline)
        greenpool.sleep(0)
        waiting.kill()
        writing.write(b"one\n")
        writing.flush()
        assert greenpool.spawn(reading.readline).get() == b"one\n"


def test_closing_the_raw_file_wakes_who_waits(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    reading, writing = os.pipe()
    os.close(pipe[0])
    raw = FileObject(reading, "rb", 0)
    waiting = greenpool.Greenlet.spawn(raw.read, 1)
    waiting.quiet = True
    greenpool.sleep(0)
    raw.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        waiting.get()
    os.close(writing)


def test_a_terminal() -> None:
    near, far = pty.openpty()
    with FileObject(far, "r") as terminal, FileObject(near, "wb", 0) as keyboard:
        assert terminal.isatty() and terminal.line_buffering
        waiting = greenpool.spawn(terminal.readline)
        keyboard.write(b"a line\n")
        assert waiting.get() == "a line\n"


def test_a_socket_in_both_directions() -> None:
    near, far = socket.socketpair()
    with FileObject(near, "rb+") as file, far:
        waiting = greenpool.spawn(file.readline)
        far.send(b"question\n")
        assert waiting.get() == b"question\n"
        file.write(b"answer\n")
        file.flush()
        assert far.recv(100) == b"answer\n"
    assert near.fileno() == -1


def test_what_cannot_be_watched_goes_to_a_thread(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb+") as plain:
        with FileObject(plain.fileno(), "rb+", closefd=False) as file:
            assert isinstance(file.raw, ThreadFileIO)
    reading, writing = os.pipe()
    with FileObject(reading, "rb") as file, FileObject(writing, "wb"):
        assert isinstance(file.raw, PollerFileIO)


@pytest.mark.parametrize("kind", [*KINDS, FileObjectBlock])
def test_a_regular_file_by_path(kind: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "file"
    with kind(path, "w", newline="\n") as file:
        file.write("one\ntwo\n")
    with kind(str(path), "rb+") as file:
        assert file.readline() == b"one\n"
        assert file.tell() == 4
        file.seek(0)
        file.write(b"ONE")
        file.seek(0, os.SEEK_END)
        file.write(b"three\n")
        file.truncate(10)
    with kind(path) as file:
        assert file.read() == "ONE\ntwo\nth"
    with pytest.raises(FileNotFoundError):
        kind(tmp_path / "none")
    with pytest.raises(FileExistsError):
        kind(path, "x")
    with kind(tmp_path / "new", "xb") as file:
        assert file.write(b"x") == 1


def test_closefd(pipe: tuple[int, int]) -> None:
    FileObject(pipe[0], "rb", closefd=False).close()
    with open(pipe[0], "rb") as plain:
        FileObject(plain, "rb", closefd=False).close()
        assert not plain.closed
        FileObject(plain, "rb").close()
        assert plain.closed
    os.close(pipe[1])
    with pytest.raises(ValueError, match="closefd"):
        FileObject(__file__, closefd=False)


def test_the_file_object_that_it_is_made_of_lives_as_long(pipe: tuple[int, int]) -> None:
    reading = FileObject(open(pipe[0], "rb"), "rb")  # noqa: SIM115 - that nobody else holds it is the point
    with reading, open(pipe[1], "wb", buffering=0) as writing:
        writing.write(b"word")
        assert reading.read(4) == b"word"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("rb", -1, "utf-8"), None),
        (("r", 0), ValueError),
        (("rw",), ValueError),
        (("",), ValueError),
        ((None,), TypeError),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], error: type[Exception] | None, pipe: tuple[int, int]
) -> None:
    if error is None:
        FileObject(pipe[0], *arguments, closefd=False).close()
    else:
        with pytest.raises(error):
            FileObject(pipe[0], *arguments, closefd=False)
    os.close(pipe[0])
    os.close(pipe[1])


def test_line_buffering_is_for_text(pipe: tuple[int, int]) -> None:
    with pytest.warns(RuntimeWarning, match="line buffering"):
        FileObject(pipe[0], "rb", 1).close()
    FileObject(pipe[1], "w", 1).close()


def test_a_killed_read_leaves_the_file_usable(tmp_path: Path, pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb") as reading, FileObject(pipe[1], "wb", 0) as writing:
        waiting = greenpool.spawn(reading.read, 10)
        greenpool.sleep(0)
        waiting.kill()
        writing.write(b"word\n")
        assert reading.readline() == b"word\n"


def test_on_every_hub_of_a_pool(pipe: tuple[int, int]) -> None:
    with greenpool.Runtime(pool_size=3) as runtime:
        with FileObject(pipe[0], "rb") as reading, FileObject(pipe[1], "wb", 0) as writing:
            readers = [runtime.spawn(reading.readline) for _ in range(9)]
            for _ in readers:
                writing.write(b"line\n")
            assert [reader.get() for reader in readers] == [b"line\n"] * 9


# Calls that need not wait, and arguments that are descriptors.


def test_nothing_is_not_waited_for(pipe: tuple[int, int]) -> None:
    """The pipe is empty, but these calls return at once."""
    with FileObject(pipe[0], "rb", 0) as reading, FileObject(pipe[1], "wb", 0) as writing:
        assert reading.read(0) == b""
        assert reading.readinto(bytearray()) == 0
        with pytest.raises(TypeError):
            reading.read("x")
        with pytest.raises(TypeError):
            reading.readinto(b"read-only")
        assert writing.write(b"") == 0


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_SEQPACKET"])
def test_a_message_is_not_split(kind: str) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, getattr(socket, kind))
    with far, FileObject(near, "wb", 0) as file:
        file.write(bytes(10_000))
        file.write(b"next")
        assert [len(far.recv(20_000)), far.recv(20_000)] == [10_000, b"next"]


def test_what_is_not_contiguous(pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb"), FileObject(pipe[1], "wb", 0) as writing:
        with pytest.raises(BufferError, match="not C-contiguous"):
            writing.write(memoryview(bytes(20_000))[::2])


def test_closed_between_two_pieces(
    pipe: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may close it, and the kernel may give its number to another file."""
    writing = FileObject(pipe[1], "wb", 0)
    ready_now = transfer.ready_now
    foreign: list[Any] = []
    asked = 0

    def ready(fd: int, bits: int) -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            writing.close()
            foreign.append(open(tmp_path / "foreign", "wb+", 0))  # noqa: SIM115
        return ready_now(fd, bits)

    monkeypatch.setattr(transfer, "ready_now", ready)
    assert writing.write(bytes(20_000)) == 8192
    (file,) = foreign
    with file:
        assert file.fileno() == pipe[1]
        assert file.read() == b""
    os.close(pipe[0])


# Finalizers that may not park.


@pytest.mark.parametrize("keep", ["", "sys.kept = file, pipe, both"])
def test_what_is_still_buffered_at_the_interpreters_end(keep: str, tmp_path: Path) -> None:
    """As with ``open``, the buffer is written, even into a full pipe, and even if ``sys`` keeps the file."""
    path = tmp_path / "file"
    script = f"""
import socket, sys
import greenpool
from greenpool.fileobject import FileObject
file = FileObject({str(path)!r}, "w")
file.write("hello")
pipe = FileObject(1, "w", 1_000_000, closefd=False)
pipe.write("y" * 300_000)
near, far = socket.socketpair()
both = FileObject(near.detach(), "r+b")
both.write(b"hello")
{keep}
far.detach()
greenpool.sleep(0)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (len(ran.stdout), ran.stderr) == (300_000, b"")
    assert path.read_text() == "hello"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_still_buffered_when_a_file_is_collected_in_the_loop(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    """The loop calls links, so the files are collected there."""
    files: list[Any] = []

    def write(file: Any, size: int) -> None:
        file.write(b"y" * size)
        files.append(file)

    def collect(greenlet: Any) -> None:
        files.clear()
        gc.collect()

    path = tmp_path / "file"
    writing = greenpool.spawn(lambda: write(FileObject(path, "wb"), 5))
    writing.rawlink(collect)
    writing.join()
    greenpool.sleep(0)
    assert path.read_bytes() == b"y" * 5

    received: list[bytes] = []

    def receive() -> None:
        with open(pipe[0], "rb") as reading:
            received.append(reading.read())

    reader = threading.Thread(target=receive)
    reader.start()
    writing = greenpool.spawn(lambda: write(FileObject(pipe[1], "wb", 1_000_000), 300_000))
    writing.rawlink(collect)
    writing.join()
    greenpool.sleep(0)
    reader.join()
    assert received == [b"y" * 300_000]


# Files that greenlets share, and interruptions.


def test_greenlets_take_turns_at_a_socket_in_both_directions() -> None:
    near, far = socket.socketpair()
    with far, FileObject(near, "r+b") as file:
        assert isinstance(file, io.BufferedRWPair)
        readers = [greenpool.spawn(file.readline) for _ in range(3)]
        greenpool.sleep(0)
        far.sendall(b"one\ntwo\nthree\n")
        assert [reader.get() for reader in readers] == [b"one\n", b"two\n", b"three\n"]
        writers = [greenpool.spawn(file.write, letter * 500_000) for letter in (b"a", b"b")]
        received = b""
        while len(received) < 1_000_000:
            # The last data comes with the second flush.
            if all(writer.ready() for writer in writers):
                file.flush()
            received += far.recv(65_536)
        assert received == b"a" * 500_000 + b"b" * 500_000
        # A reader does not keep others from writing.
        reader = greenpool.spawn(file.readline)
        greenpool.sleep(0)
        file.write(b"question\n")
        file.flush()
        assert far.recv(100) == b"question\n"
        far.send(b"answer\n")
        assert reader.get() == b"answer\n"


def test_a_file_for_both_directions_is_as_the_standard_one() -> None:
    near, far = socket.socketpair()
    with far:
        file = FileObject(near, "r+b")
        assert file.readable() and file.writable() and not file.seekable() and not file.isatty()
        far.send(b"0123456789abc\nlast")
        far.shutdown(socket.SHUT_WR)
        buffer = bytearray(2)
        assert file.peek(1)[:2] == b"01"
        assert (file.read(1), file.read1(1)) == (b"0", b"1")
        assert (file.readinto(buffer), buffer) == (2, b"23")
        assert (file.readinto1(buffer), buffer) == (2, b"45")
        assert [file.readline(3), *file] == [b"678", b"9abc\n", b"last"]
        assert file.read() == b""
        file.write(b"x")
        assert not file.closed
        file.close()
        assert file.closed
        assert far.recv(10) == b"x"
        with pytest.raises(ValueError, match="closed"):
            file.write(b"x")


def test_text_in_both_directions() -> None:
    near, far = socket.socketpair()
    with far, FileObject(near, "r+", encoding="utf-8", newline="") as file:
        far.send("zwölf\n".encode())
        assert file.readline() == "zwölf\n"
        file.write("drölf\n")
        file.flush()
        assert far.recv(100) == "drölf\n".encode()


def test_buffers_for_a_module_that_makes_its_own() -> None:
    """A module that makes buffers over its own raw files finds ``green_io`` as ``io``."""
    near, far = socket.socketpair()
    with near, far:
        raw = FileObject(near, "rb", 0, closefd=False)
        file = green_io.BufferedReader(raw, buffer_size=100)
        readers = [greenpool.spawn(file.readline) for _ in range(2)]
        greenpool.sleep(0)
        far.sendall(b"one\ntwo\n")
        assert [reader.get() for reader in readers] == [b"one\n", b"two\n"]
        file.close()
    assert green_io.TextIOWrapper is io.TextIOWrapper


@pytest.mark.parametrize("how", ["read", "read some", "readinto", "readall"])
def test_a_timeout_takes_away_nothing_that_was_read(how: str, pipe: tuple[int, int]) -> None:
    with FileObject(pipe[0], "rb", 0) as reading, FileObject(pipe[1], "wb", 0) as writing:
        writing.write(b"abc")
        for _ in range(2):
            with greenpool.Timeout(0.001, False):
                reading.read()
        writing.write(b"def")
        if how == "read some":
            assert [reading.read(2), reading.read(2), reading.read(2)] == [b"ab", b"c", b"de"]
        elif how == "readinto":
            buffer = bytearray(2)
            assert (reading.readinto(buffer), buffer) == (2, b"ab")
        else:
            writing.close()
            assert getattr(reading, how)() == b"abcdef"


def test_closing_a_buffer_waits_for_its_turn(pipe: tuple[int, int]) -> None:
    """Closing a buffer waits, as it does with threads. Closing the file below the buffer does not wait."""
    writing = os.fdopen(pipe[1], "wb", 0)
    reading = FileObject(pipe[0], "rb")
    waiting = greenpool.spawn(reading.read, 5)
    greenpool.sleep(0)
    closing = greenpool.spawn(reading.close)
    greenpool.sleep(0)
    writing.write(b"12345")
    closing.join()
    assert (waiting.get(), reading.closed) == (b"12345", True)
    writing.close()


def test_closing_the_raw_file_ends_a_buffered_read(pipe: tuple[int, int]) -> None:
    reading = FileObject(pipe[0], "rb")
    waiting = greenpool.Greenlet.spawn(reading.read, 5)
    waiting.quiet = True
    greenpool.sleep(0)
    reading.raw.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        waiting.get()
    os.close(pipe[1])


# gevent's other arguments, and names.


@pytest.mark.parametrize("kind", [FileObject, FileObjectPosix, FileObjectThread, FileObjectBlock])
def test_close_and_bufsize_are_other_names(kind: Any) -> None:
    reading, writing = os.pipe()
    with kind(writing, "wb", bufsize=0) as writer, kind(reading, "rb", close=False, bufsize=0) as reader:
        writer.write(b"1")
        assert reader.read(1) == b"1"
    os.close(reading)
    with pytest.raises(OSError):
        os.fstat(writing)
    with pytest.raises(TypeError, match="bufsize is another name for buffering"):
        kind(0, bufsize=0, buffering=0)


@pytest.mark.parametrize("kind", [FileObject, FileObjectThread, FileObjectBlock])
def test_the_name_is_that_of_the_file_also_when_it_is_closed(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with open(path) as opened:
        for file in (str(path), opened):
            made = kind(file)
            assert made.name == str(path)
            made.close()
            assert made.name == str(path)
    number = os.open(path, os.O_RDONLY)
    made = kind(number)
    made.close()
    assert made.name == number


def test_a_file_without_a_name() -> None:
    class Nameless:
        def fileno(self) -> int:
            return reading

        def close(self) -> None:
            os.close(reading)

    reading, writing = os.pipe()
    with FileObject(Nameless(), "rb") as made:
        assert not hasattr(made, "name")
    assert not hasattr(made, "name")
    os.close(writing)
