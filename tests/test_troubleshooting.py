"""Troubleshooting: greenpool prints each message that the page quotes, but for numbers and paths."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import greenpool
from documents import ROOT
from greenpool._core.native import HAS_GIL

PAGE = ROOT / "docs" / "troubleshooting.md"

# Programs that make the trouble, by the sections of the page.
PROGRAMS = {
    "LoopExit": """
        import greenpool
        from greenpool.event import Event
        from greenpool.lock import Lock

        lock = Lock()

        def hold():
            with lock:
                Event().wait()

        def main():
            greenpool.spawn(hold).name = "holder"
            while not lock.locked():
                greenpool.sleep(0)
            with lock:
                pass

        greenpool.run(main)
        """,
    "A hub is blocked": """
        import os
        import time

        import greenpool

        def slow():
            time.sleep(0.5)

        def main():
            greenlets = [greenpool.spawn(slow), greenpool.spawn(int)]
            greenpool.joinall(greenlets)

        greenpool.Builder().pool_size(1).stall_limit(0.1).build().block_on(main)
        """,
    "Patched too late": """
        import socket
        import threading

        done = threading.Event()

        def sleep():
            done.wait()

        threading.Thread(target=sleep).start()
        lock = threading.Lock()
        lock.acquire()

        class Mine(threading.local):
            pass

        class Connection(socket.socket):
            pass

        from greenpool import monkey

        def late():
            monkey.patch_all()

        thread = threading.Thread(target=late)
        thread.start()
        thread.join()
        monkey.patch_all()
        done.set()
        """,
    "Native modules": """
        import os
        import subprocess
        import sys

        from greenpool import monkey

        monkey.patch_all()
        import library

        monkey.patch_all(native=["library"])
        subprocess.run([sys.executable, "-m", "greenpool", "--native", "nosuch", "app.py"])
        """,
    "It hangs at exit": """
        import time

        import greenpool
        from greenpool.event import Event

        def slow():
            running.set()
            time.sleep(1.5)

        running = Event()
        runtime = greenpool.Runtime(pool_size=1)
        runtime.spawn(slow)
        running.wait()
        runtime.shutdown()

        runtime = greenpool.Runtime(pool_size=1)
        runtime = None
        """,
    "SpawnError": """
        import greenpool

        runtime = greenpool.Runtime(pool_size=1)
        runtime.shutdown()
        runtime.spawn(int)
        """,
    "Too many open files": """
        import os
        import resource
        import sys

        import greenpool
        from greenpool import socket
        from greenpool.event import Event
        from greenpool.server import StreamServer

        told = Event()

        class Errors:
            def write(self, text):
                if "Too many open files" in text:
                    told.set()
                return sys.__stderr__.write(text)

            def flush(self):
                sys.__stderr__.flush()

        def main():
            server = StreamServer(("127.0.0.1", 0), print)
            server.start()
            resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
            descriptors = []
            try:
                while True:
                    descriptors.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                # The client takes the last one.
                os.close(descriptors.pop())
            with socket.create_connection(server.address):
                told.wait()
            server.stop()

        sys.stderr = Errors()
        greenpool.run(lambda: greenpool.spawn(main).get())
        """,
    "Deep recursion": """
        import greenpool

        def deeper():
            deeper()

        greenpool.spawn(deeper).join()
        """,
    "Fork": """
        import os

        import greenpool

        runtime = greenpool.Runtime(pool_size=1)
        if os.fork() == 0:
            try:
                runtime.spawn(int)
            except greenpool.SpawnError:
                assert greenpool.spawn(int, "4").get() == 4
                os._exit(7)
        _, status = os.wait()
        assert os.waitstatus_to_exitcode(status) == 7
        runtime.shutdown()
        """,
    "Signal handlers": """
        import signal

        import greenpool

        def main():
            signal.signal(signal.SIGTERM, print)
            greenpool.spawn(signal.signal, signal.SIGTERM, print).join()

        greenpool.run(main)
        """,
    "Debuggers": """
        import greenpool

        def main():
            breakpoint()

        greenpool.spawn(main).get()
        """,
}

# gunicorn's worker has to print it, and does in tests/programs/test_gunicorn.py.
OF_GUNICORN = "patching comes after gunicorn's gthread worker was set up"


def sections() -> dict[str, list[str]]:
    """The messages of each section, by its heading: the ```text blocks that are no output of a program."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        text = re.sub(r"^```python\n.*?^```\n\n```text\n.*?^```$", "", text, flags=re.M | re.S)
        found[heading] = re.findall(r"^```text\n(.*?)^```$", text, re.M | re.S)
    return found


def plain(text: str) -> str:
    """Text without what differs from run to run: addresses, identifiers, numbers, and directories."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"[^\s\"]*/(\w+\.py)", r"\1", text)
    return re.sub(r"\d+", "N", text)


def test_every_section_has_its_program() -> None:
    assert list(sections()) == list(PROGRAMS)


@pytest.mark.slow
@pytest.mark.parametrize("heading", PROGRAMS)
def test_the_messages_are_what_greenpool_prints(heading: str, tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text("\n".join(line[8:] for line in PROGRAMS[heading].strip("\n").splitlines()) + "\n")
    (tmp_path / "library.py").write_text("")
    run = subprocess.run(
        [sys.executable, "-W", "always", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(greenpool.__file__).parent.parent)},
        input="continue\n",
        capture_output=True,
        text=True,
        timeout=50,
    )
    printed = plain(run.stderr + run.stdout)
    lines = [
        line for message in sections()[heading] for line in message.splitlines() if OF_GUNICORN not in line
    ]
    for line in lines:
        expected = plain(line)
        if not HAS_GIL:
            # No other thread can tell which greenlet runs there, and what it calls.
            expected = re.sub(
                r"Greenlet-N (for|on)(.*?)(: time.sleep waits .*)?$", r"a greenlet \1\2", expected
            )
        assert expected in printed, run.stderr
    if not lines:
        assert run.returncode == 0, run.stderr


def test_the_message_for_gunicorn() -> None:
    [line] = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if OF_GUNICORN in line]
    source = (ROOT / "greenpool" / "monkey.py").read_text(encoding="utf-8")
    assert line.removeprefix("MonkeyPatchWarning: ") in re.sub(r'"\n\s*"', "", source)
