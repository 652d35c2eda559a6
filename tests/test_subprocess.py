"""``greenpool.subprocess``: waiting for children and talking to them parks."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess as standard
import sys
import threading
from typing import Any

import pytest

import greenpool
from greenpool import subprocess
from greenpool.subprocess import PIPE, Popen

pytestmark = pytest.mark.usefixtures("leak_check")

# The program of a child that answers each line.
ECHO = """
import sys
for line in sys.stdin:
    print(line.strip().upper(), flush=True)
"""


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


@pytest.fixture(params=["pidfd", "thread"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Wait by pidfd, and as on systems that have no pidfd."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "no such system call")

    if request.param == "thread":
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_wait_parks() -> None:
    with Popen(["cat"], stdin=PIPE) as child:
        waiting = greenpool.spawn(child.wait)
        greenpool.sleep(0.005)
        assert not waiting.ready()
        assert child.stdin is not None
        child.stdin.close()
        assert waiting.get() == 0
        assert child.poll() == child.returncode == 0


@pytest.mark.usefixtures("way")
def test_wait_times_out() -> None:
    with Popen(["cat"], stdin=PIPE) as child:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            child.wait(timeout=0.01)
        assert (caught.value.cmd, caught.value.timeout) == (["cat"], 0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0)
        child.terminate()
        assert child.wait(timeout=30) == -signal.SIGTERM


@pytest.mark.usefixtures("way")
def test_several_wait_for_one_child() -> None:
    with Popen(["cat"], stdin=PIPE) as child:
        waiting = [greenpool.spawn(child.wait) for _ in range(5)]
        waiting += [greenpool.spawn(child.wait, timeout=30) for _ in range(5)]
        greenpool.sleep(0.005)
        assert child.stdin is not None
        child.stdin.close()
        assert [greenlet.get() for greenlet in waiting] == [0] * 10


@pytest.mark.usefixtures("way")
def test_a_child_that_somebody_else_reaps() -> None:
    with Popen(["cat"], stdin=PIPE) as child:
        waiting = greenpool.spawn(child.wait)
        greenpool.sleep(0.005)
        assert child.stdin is not None
        child.stdin.close()
        assert os.waitpid(child.pid, 0)[0] == child.pid
        # The standard module also says 0 if the status is lost.
        assert waiting.get() == 0


def test_children_run_at_the_same_time() -> None:
    """Each child waits for the previous one's word, so none could end alone."""
    children = [Popen(["cat"], stdin=PIPE, stdout=PIPE) for _ in range(5)]

    def relay(number: int) -> bytes:
        child, following = children[number], children[(number + 1) % 5]
        assert child.stdout is not None and following.stdin is not None
        word: bytes = child.stdout.readline()
        following.stdin.write(word.strip() + b"%d\n" % number)
        following.stdin.close()
        rest: bytes = child.stdout.read()
        child.stdout.close()
        assert child.wait() == 0
        return word + rest

    relays = [greenpool.spawn(relay, number) for number in range(5)]
    first = children[0].stdin
    assert first is not None
    first.write(b"go\n")
    first.flush()
    results = [greenlet.get() for greenlet in relays]
    assert results == [b"go\ngo01234\n", b"go0\n", b"go01\n", b"go012\n", b"go0123\n"]


def test_a_conversation() -> None:
    with Popen(python(ECHO), stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        ticks = []
        ticking = greenpool.spawn(lambda: [ticks.append(greenpool.sleep(0)) for _ in range(3)])
        for word in ("one", "two"):
            child.stdin.write(f"{word}\n")
            child.stdin.flush()
            assert child.stdout.readline() == f"{word.upper()}\n"
        assert ticking.ready()
        child.stdin.close()
        assert child.stdout.read() == ""


@pytest.mark.parametrize("timeout", [None, 30])
def test_communicate_with_much_data_both_ways(timeout: float | None) -> None:
    data = bytes(range(256)) * 4000
    script = """
import shutil, sys
sys.stderr.write("e" * 100_000)
shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
"""
    children = [Popen(python(script), stdin=PIPE, stdout=PIPE, stderr=PIPE) for _ in range(3)]
    talking = [greenpool.spawn(child.communicate, data, timeout=timeout) for child in children]
    for greenlet in talking:
        assert greenlet.get() == (data, b"e" * 100_000)
    assert [child.returncode for child in children] == [0] * 3


def test_communicate_with_one_pipe() -> None:
    with Popen(["cat"], stdin=PIPE) as child:
        assert greenpool.spawn(child.communicate, b"").get() == (None, None)
    with Popen(["echo", "word"], stdout=PIPE) as child:
        assert greenpool.spawn(child.communicate).get() == (b"word\n", None)


def test_communicate_times_out_and_goes_on() -> None:
    with Popen(["cat"], stdin=PIPE, stdout=PIPE) as child:
        other = os.dup(child.stdin.fileno())  # type: ignore[union-attr]
        with pytest.raises(subprocess.TimeoutExpired):
            child.communicate(b"word", timeout=0.01)
        os.close(other)
        assert child.communicate(timeout=30) == (b"word", None)


def test_a_full_pipe_parks_the_writer() -> None:
    with Popen(["cat"], stdin=PIPE, stdout=PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        data = bytes(1_000_000)

        def send(pipe: Any) -> None:
            with pipe:
                pipe.write(data)

        sending = greenpool.spawn(send, child.stdin)
        greenpool.sleep(0.005)
        assert not sending.ready()
        assert child.stdout.read() == data
        sending.get()


def test_a_greenlet_that_waits_for_output_does_not_keep_others_from_the_pipe() -> None:
    with Popen(["cat"], stdin=PIPE, stdout=PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        readers = [greenpool.spawn(child.stdout.readline) for _ in range(3)]
        for word in (b"one\n", b"two\n", b"three\n"):
            child.stdin.write(word)
        child.stdin.close()
        assert [reader.get() for reader in readers] == [b"one\n", b"two\n", b"three\n"]


@pytest.mark.parametrize("bufsize", [-1, 0, 100])
@pytest.mark.parametrize("text", [False, True])
def test_the_pipes_are_what_the_standard_ones_are(bufsize: int, text: bool) -> None:
    settings: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "bufsize": bufsize, "text": text}
    with standard.Popen(["cat"], **settings) as original, Popen(["cat"], **settings) as child:
        for name in ("stdin", "stdout"):
            assert isinstance(getattr(child, name), type(getattr(original, name)))
            assert os.get_blocking(getattr(child, name).fileno())


def test_a_non_blocking_pipe_reads_as_the_standard_one() -> None:
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, bufsize=0) as child:
        assert isinstance(child.stdout, io.FileIO)
        os.set_blocking(child.stdout.fileno(), False)
        assert child.stdout.read(10) is None


def test_a_pipeline() -> None:
    """The pipe of one child is the other's stdin, and it blocks there as a program expects."""
    with Popen(["cat"], stdin=PIPE, stdout=PIPE) as first:
        with Popen(["sort"], stdin=first.stdout, stdout=PIPE) as second:
            assert first.stdin is not None and first.stdout is not None
            first.stdout.close()
            first.stdin.write(b"b\na\n")
            first.stdin.close()
            assert second.communicate() == (b"a\nb\n", None)


def test_the_functions_of_the_module() -> None:
    assert subprocess.run(["cat"], input="text", capture_output=True, text=True).stdout == "text"
    assert subprocess.call(["false"]) == 1
    assert subprocess.check_output(["echo", "word"]) == b"word\n"
    assert subprocess.getoutput("echo word") == "word"
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.check_call(["false"])
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sleep", "30"], timeout=0.01)
    with pytest.raises(FileNotFoundError):
        subprocess.run(["/there is no such program"])


def test_run_in_many_greenlets() -> None:
    running = [greenpool.spawn(subprocess.check_output, ["echo", str(number)]) for number in range(20)]
    assert [int(greenlet.get()) for greenlet in running] == list(range(20))


def test_on_every_hub_of_a_pool() -> None:
    with greenpool.Runtime(pool_size=3) as runtime:
        running = [runtime.spawn(subprocess.check_output, ["echo", str(number)]) for number in range(12)]
        assert [int(greenlet.get()) for greenlet in running] == list(range(12))


def test_from_a_plain_thread() -> None:
    results: list[bytes] = []
    thread = threading.Thread(target=lambda: results.append(subprocess.check_output(["echo", "word"])))
    thread.start()
    thread.join()
    assert results == [b"word\n"]


def test_killed_while_waiting() -> None:
    with Popen(["cat"], stdin=PIPE) as child:
        waiting = greenpool.spawn(child.wait)
        greenpool.sleep(0)
        waiting.kill()
        assert child.poll() is None
        child.kill()


def test_no_signal_handler_is_installed() -> None:
    assert subprocess.call(["true"]) == 0
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL


def test_is_a_standard_Popen() -> None:
    assert issubclass(Popen, standard.Popen)
    assert Popen.__name__ == "Popen"


def test_wait_for_children_among_other_objects() -> None:
    quick, slow = Popen(python("")), Popen(python("import time; time.sleep(60)"))
    try:
        assert greenpool.wait([slow, quick], count=1) == [quick]
        assert slow.poll() is None
    finally:
        slow.kill()
    assert greenpool.wait([slow, quick]) in ([slow, quick], [quick, slow])
    assert quick.returncode == 0
