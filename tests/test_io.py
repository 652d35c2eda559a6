"""``greenpool.io``: files that may wait park, regular ones are the standard files, and both look the same."""

from __future__ import annotations

import gc
import io as standard
import os
import pickle
import socket as standard_socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import greenpool
from greenpool import io
from greenpool import os as green_os

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    gc.collect()


# Opening a FIFO.


def test_both_ends_of_a_fifo_are_opened_on_one_hub(fifo: Path) -> None:
    def read() -> str:
        with io.open(fifo) as file:
            return str(file.read())

    reader = greenpool.spawn(read)
    greenpool.sleep(0)
    with io.open(fifo, "w") as file:
        file.write("hi")
    assert reader.get() == "hi"


def test_os_open_waits_for_the_other_end(fifo: Path) -> None:
    reader = greenpool.spawn(green_os.open, fifo, os.O_RDONLY)
    greenpool.sleep(0.02)
    assert not reader.ready()
    writing = green_os.open(fifo, os.O_WRONLY)
    os.write(writing, b"x")
    assert os.read(reader.get(), 9) == b"x"
    os.close(writing)
    os.close(reader.get())


def test_os_open_takes_a_directory(fifo: Path) -> None:
    directory = os.open(fifo.parent, os.O_RDONLY)
    reader = greenpool.spawn(green_os.open, fifo.name, os.O_RDONLY, dir_fd=directory)
    greenpool.sleep(0.02)
    os.close(green_os.open(fifo.name, os.O_WRONLY, dir_fd=directory))
    os.close(reader.get())
    os.close(directory)


def test_opening_without_waiting_is_as_ever(fifo: Path) -> None:
    with pytest.raises(OSError, match="No such device"):
        green_os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    os.close(green_os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
def test_an_open_that_is_killed_leaves_no_end_behind(fifo: Path, flags: int) -> None:
    waiting = greenpool.spawn(green_os.open, fifo, flags)
    greenpool.sleep(0.02)
    waiting.kill()
    # The thread has come back, and closed what it had opened.
    waits_until_no_thread_is_busy()
    with pytest.raises(OSError, match="No such device"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))


def waits_until_no_thread_is_busy() -> None:
    from greenpool._fd.workers import blocking_workers

    with greenpool.Timeout(10):
        blocking_workers.wait_until(lambda: not blocking_workers.unfinished)


def test_a_kill_does_not_end_the_open_of_another_greenlet(fifo: Path) -> None:
    first, second = (greenpool.spawn(green_os.open, fifo, os.O_RDONLY) for _ in range(2))
    greenpool.sleep(0.02)
    first.kill()
    greenpool.sleep(0.02)
    assert not second.ready()
    writing = green_os.open(fifo, os.O_WRONLY)
    os.close(second.get())
    os.close(writing)
    waits_until_no_thread_is_busy()


def test_an_error_of_opening_is_the_standard_one(tmp_path: Path) -> None:
    for opens in (io.open, standard.open):
        with pytest.raises(FileNotFoundError) as raised:
            opens(tmp_path / "missing")
        assert raised.value.filename == str(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        io.open(tmp_path)
    with pytest.raises(TypeError):
        io.open(1.5)  # type: ignore[arg-type]


# Files over descriptors.


def test_a_file_over_a_pipe_parks(pipe: tuple[int, int]) -> None:
    def read() -> bytes:
        with io.open(pipe[0], "rb") as file:
            return bytes(file.read())

    reader = greenpool.spawn(read)
    greenpool.sleep(0.02)
    assert not reader.ready()
    with io.open(pipe[1], "wb") as file:
        file.write(b"x" * 1_000_000)
    assert len(reader.get()) == 1_000_000


def test_a_raw_file_over_a_socket_parks() -> None:
    ends = standard_socket.socketpair()
    left, right = (io.FileIO(end.detach(), "r+") for end in ends)
    reader = greenpool.spawn(left.read, 9)
    greenpool.sleep(0)
    right.write(b"x")
    assert reader.get() == b"x"
    left.close()
    right.close()


def test_the_null_device_has_the_standard_files() -> None:
    """A program that logs to it would have to ask, at each write, whether that may wait."""
    with io.open(os.devnull, "wb") as file:
        assert type(file) is standard.BufferedWriter and type(file.raw) is standard.FileIO


@pytest.mark.parametrize("kind", ["regular", "pipe"])
@pytest.mark.parametrize(
    ("mode", "wanted"), [("r", "TextIOWrapper"), ("rb", "BufferedReader"), ("wb", "BufferedWriter")]
)
def test_types_and_names_are_the_standard_ones(kind: str, mode: str, wanted: str, tmp_path: Path) -> None:
    if kind == "pipe":
        reading, writing = os.pipe()
        fd, other = (reading, writing) if "r" in mode else (writing, reading)
        os.close(other)
    else:
        fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    with io.open(fd, mode) as file:
        assert type(file).__name__ == wanted
        assert isinstance(file, getattr(standard, wanted))
        assert (file.name, file.mode) == (fd, mode)
        raw: Any = file.buffer.raw if mode == "r" else file.raw  # type: ignore[attr-defined]
        assert isinstance(raw, io.FileIO)
        assert isinstance(raw, standard.FileIO)
        assert raw.closefd
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(file)


def test_only_what_can_wait_is_a_file_of_ours(tmp_path: Path) -> None:
    with io.open(tmp_path / "file", "wb", buffering=0) as file:
        assert type(file) is standard.FileIO
    with io.FileIO(tmp_path / "file") as file:
        assert type(file) is standard.FileIO
    assert issubclass(standard.FileIO, io.FileIO)
    assert not isinstance(standard.BytesIO(), io.FileIO)


def test_a_subclass_of_the_raw_file_parks(pipe: tuple[int, int]) -> None:
    class Counting(io.FileIO):
        calls = 0

        def read(self, size: int | None = -1, /) -> bytes | Any:
            self.calls += 1
            return super().read(size)

    file = Counting(pipe[0])
    reader = greenpool.spawn(file.read, 9)
    greenpool.sleep(0)
    os.write(pipe[1], b"x")
    assert reader.get() == b"x"
    assert file.calls == 1
    assert not isinstance(standard.FileIO(pipe[1], "w", closefd=False), Counting)
    file.close()
    os.close(pipe[1])


def test_an_opener_is_called_once_whatever_it_opens(pipe: tuple[int, int], tmp_path: Path) -> None:
    calls = []

    def opener(path: str, flags: int) -> int:
        calls.append(path)
        return pipe[0] if path == "a pipe" else os.open(tmp_path / path, flags)

    with io.open("a pipe", "rb", opener=opener) as file:
        reader = greenpool.spawn(file.read)
        greenpool.sleep(0)
        os.write(pipe[1], b"x")
        os.close(pipe[1])
        assert reader.get() == b"x"
        assert file.name == "a pipe"
    assert calls == ["a pipe"]
    (tmp_path / "file").write_bytes(b"y")
    with io.open("file", "rb", opener=opener) as file:
        assert file.read() == b"y"
    with io.FileIO("file", opener=opener) as raw:
        assert type(raw) is standard.FileIO
    assert calls == ["a pipe", "file", "file"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "q"},
        {"mode": "rb", "encoding": "utf-8"},
        {"buffering": 0},
        {"mode": "r+b"},
        {"newline": "x"},
    ],
)
def test_wrong_arguments_are_refused_as_by_the_standard_function(
    wrong: dict[str, Any], pipe: tuple[int, int]
) -> None:
    for fd in pipe:
        messages = []
        for opens in (standard.open, io.open):
            with pytest.raises((ValueError, OSError)) as raised:
                opens(fd, closefd=False, **wrong)
            messages.append((type(raised.value), str(raised.value)))
        assert messages[0] == messages[1]
        os.close(fd)


def test_a_terminal_is_line_buffered() -> None:
    controlling, terminal = os.openpty()
    with io.open(terminal, "w") as file:
        assert file.line_buffering  # type: ignore[attr-defined]
        file.write("line\n")
        assert os.read(controlling, 100) == b"line\r\n"
    os.close(controlling)
