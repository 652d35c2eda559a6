"""The originals of patched functions, and copies of standard modules made of them."""

from __future__ import annotations

from collections.abc import Callable


def test_an_os_thread_that_makes_a_copy_of_threading_is_joined_as_ever(
    run_script: Callable[[str], str],
) -> None:
    """The copy takes that thread for the main one and, up to Python 3.12, the lock that join waits for."""
    output = run_script("""
import threading

def work():
    import greenpool.threading

thread = threading.Thread(target=work)
thread.start()
thread.join()
print(thread.is_alive())
""")
    assert output == "False\n"


def test_threads_of_such_a_copy_are_joined(run_script: Callable[[str], str]) -> None:
    output = run_script("""
import threading
from greenpool._core import native

def work():
    copies.append(native.fresh_copy("threading"))

copies = []
thread = threading.Thread(target=work)
thread.start()
thread.join()
another = copies[0].Thread(target=print, args=("ran",))
another.start()
another.join()
print(another.is_alive())
""")
    assert output == "ran\nFalse\n"
