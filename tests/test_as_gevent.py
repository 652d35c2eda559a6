"""greenpool under gevent's name: the names, the finder, the command line, and what is gevent's only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import greenpool
from greenpool._as_gevent import MODULES

TREE = Path(greenpool.__file__).parent.parent
INSTALLED = "import greenpool\ngreenpool.install_as_gevent()\n"


def run(*arguments: object, **environment: str) -> str:
    """Run Python, which has to leave stderr empty, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(TREE)} | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def python(code: str, **environment: str) -> str:
    return run("-c", INSTALLED + dedent(code), **environment)


def test_import_gevent_gives_greenpool() -> None:
    assert (
        python("""
        import gevent
        from gevent import monkey, queue, socket
        import gevent.lock

        print(gevent.__version__, gevent.version_info >= (26, 9))
        print(gevent.spawn is greenpool.spawn, queue is greenpool.queue, gevent.socket is greenpool.socket)
        print(gevent.lock.Semaphore.__module__, greenpool.queue.__spec__.name)
        print(gevent.spawn(lambda: 42).get())
        """)
        == "26.9.0 True\nTrue True True\ngreenpool.lock greenpool.queue\n42\n"
    )


def test_every_module_can_be_imported_first() -> None:
    names = [name for name in MODULES if name != "gevent.monkey.__main__"]
    python(
        f"""
        import importlib, sys
        for name in {names}:
            # In the state of a program that has imported nothing of gevent.
            for known in [known for known in sys.modules if known.partition(".")[0] == "gevent"]:
                del sys.modules[known]
            module = importlib.import_module(name)
            for public in getattr(module, "__all__", ()):
                getattr(module, public)
        """
    )


def test_a_submodule_that_does_not_exist() -> None:
    assert (
        python("""
        import importlib.util
        import gevent

        print(importlib.util.find_spec("gevent.nothing"), hasattr(gevent, "nothing"))
        try:
            from gevent import nothing
        except ImportError as error:
            print("ImportError")
        """)
        == "None False\nImportError\n"
    )


@pytest.fixture
def real_gevent(tmp_path: Path) -> str:
    """A path on which there is a package `gevent` that is not greenpool."""
    (tmp_path / "gevent").mkdir()
    (tmp_path / "gevent" / "__init__.py").write_text("it_is_real = True\n")
    (tmp_path / "gevent" / "ares.py").write_text("")
    return os.pathsep.join([str(tmp_path), str(TREE)])


def test_an_installed_gevent_is_not_touched(real_gevent: str) -> None:
    code = """
        import importlib.util
        import gevent

        print(hasattr(gevent, "it_is_real"), importlib.util.find_spec("gevent.ares"))
        """
    assert python(code, PYTHONPATH=real_gevent) == "False None\n"


def test_it_comes_too_late_after_gevent_itself(real_gevent: str) -> None:
    code = """\
        import sys, gevent, greenpool
        finders = list(sys.meta_path)
        try:
            greenpool.install_as_gevent()
        except RuntimeError as error:
            print("gevent itself was imported already" in str(error), gevent.__file__ in str(error))
        print(sys.meta_path == finders, gevent.it_is_real)
        """
    assert run("-c", dedent(code), PYTHONPATH=real_gevent) == "True True\nTrue True\n"


def test_a_second_install_has_no_effect() -> None:
    assert (
        python("""
        import sys, gevent
        finders = list(sys.meta_path)
        greenpool.install_as_gevent()
        print(sys.meta_path == finders)
        """)
        == "True\n"
    )


def test_importing_greenpool_imports_nothing_of_it() -> None:
    code = "import greenpool, sys; print([name for name in sys.modules if 'gevent' in name])"
    assert run("-c", code) == "[]\n"


def test_patching_leaves_the_modules_under_gevents_name_alone() -> None:
    # They stand on the originals, and patching replaces originals in all modules but those of greenpool.
    python("""
        import sys
        import gevent.os, gevent.select, gevent.socket, gevent.subprocess, gevent.threading, gevent.time

        names = [name for name in sys.modules if name.startswith("gevent.")]
        before = {name: dict(vars(sys.modules[name])) for name in names}
        from gevent import monkey
        monkey.patch_all()
        for name, variables in before.items():
            for variable, value in variables.items():
                assert vars(sys.modules[name])[variable] is value, (name, variable)
        """)


# The command line.

APP = """\
import socket, sys
import gevent, gevent.socket

print(gevent.__name__, gevent.socket.socket is socket.socket, sys.argv[1:])
main = gevent.get_hub()
print(gevent.spawn(lambda: gevent.get_hub() is main).get())
"""


@pytest.mark.parametrize("launcher", [["greenpool"], ["greenpool.console.command", "run"]])
def test_as_gevent_of_the_command_line(launcher: list[str], tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(APP)
    # All on one hub, also where there is no GIL.
    assert run("-m", *launcher, "--as-gevent", app, "x") == "greenpool._gevent True ['x']\nTrue\n"


def test_children_of_a_program_have_the_name_as_well(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        dedent("""\
        import multiprocessing, subprocess, sys
        import gevent

        def name():
            print(gevent.__name__, flush=True)

        if __name__ == "__main__":
            if len(sys.argv) == 1:
                child = multiprocessing.get_context("spawn").Process(target=name)
                child.start()
                child.join()
                subprocess.run([sys.executable, *sys.argv, "again"], check=True)
            name()
        """)
    )
    assert run("-m", "greenpool", "--as-gevent", app) == "greenpool._gevent\n" * 3


@pytest.mark.parametrize(
    ("options", "patched"),
    [([], "socket time"), (["--no-time"], "socket"), (["--time"], "time"), (["--module"], "socket time")],
)
def test_python_m_gevent_monkey(options: list[str], patched: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INSTALLED)
    (tmp_path / "app.py").write_text(
        "import sys\nfrom gevent import monkey\n"
        "print(*(name for name in ('socket', 'time') if monkey.is_module_patched(name)), sys.argv[1:])\n"
    )
    app = "app" if "--module" in options else tmp_path / "app.py"
    path = os.pathsep.join([str(tmp_path), str(TREE)])
    assert run("-m", "gevent.monkey", *options, app, "x", PYTHONPATH=path) == f"{patched} ['x']\n"


# The hub.


def test_handle_error_gets_what_nobody_has_handled() -> None:
    assert (
        python("""
        import gevent

        def handle_error(context, kind, value, traceback):
            print(isinstance(context, gevent.Greenlet), kind.__name__, value)
            assert traceback is value.__traceback__

        gevent.get_hub().handle_error = handle_error
        gevent.spawn(int, "x").join()
        """)
        == "True ValueError invalid literal for int() with base 10: 'x'\n"
    )


def test_the_report_goes_to_the_hubs_exception_stream() -> None:
    out = python("""
        import io, gevent

        stream = gevent.get_hub().exception_stream = io.StringIO()
        greenlet = gevent.spawn(int, "x")
        greenlet.join()
        print(stream.getvalue())
        """)
    assert out.startswith("Traceback (most recent call last):")
    assert "failed with ValueError" in out.splitlines()[-3]


def test_not_error_and_system_error() -> None:
    assert (
        python("""
        import gevent

        class Quiet(Exception):
            pass

        class Loud(Exception):
            pass

        def fail(kind):
            raise kind

        hub = gevent.get_hub()
        hub.NOT_ERROR += (Quiet, Loud)
        hub.SYSTEM_ERROR += (Loud,)
        gevent.spawn(fail, Quiet).join()
        try:
            gevent.spawn(fail, Loud).join()
        except Loud:
            print("raised in the main program")
        """)
        == "raised in the main program\n"
    )


def test_a_handle_error_that_fails_loses_no_greenlet() -> None:
    assert (
        python("""
        import io, gevent

        def handle_error(*args):
            raise RuntimeError

        hub = gevent.get_hub()
        stream = hub.exception_stream = io.StringIO()
        hub.handle_error = handle_error
        greenlet = gevent.spawn(int, "x")
        greenlet.join()
        print(greenlet.ready(), "RuntimeError" in stream.getvalue())
        """)
        == "True True\n"
    )


def test_what_fails_while_a_thread_ends_is_reported() -> None:
    assert (
        python("""
        import io, sys, threading, gevent

        sys.stderr, stderr = io.StringIO(), sys.stderr

        def wait():
            try:
                gevent.sleep(60)
            finally:
                raise ValueError

        def work():
            gevent.get_hub()
            gevent.spawn(wait)
            gevent.sleep(0.001)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        gevent.sleep(0.1)
        report, sys.stderr = sys.stderr.getvalue(), stderr
        print(report.splitlines().count("ValueError"))
        """)
        == "1\n"
    )


def test_the_loop_has_timers_descriptors_and_wakes_from_threads() -> None:
    assert (
        python("""
        import os, threading, gevent
        from gevent.hub import Waiter

        hub = gevent.get_hub()
        reading, writing = os.pipe()
        with hub.loop.io(reading, 1) as watcher:
            gevent.spawn(os.write, writing, b"x")
            hub.wait(watcher)
        hub.wait(hub.loop.timer(0.001))

        waiter = Waiter()
        wake = hub.loop.async_()
        wake.start(waiter.switch, "woken")
        threading.Thread(target=wake.send).start()
        print(waiter.get())
        wake.close()

        waiter = Waiter()
        threading.Thread(
            target=hub.loop.run_callback_threadsafe, args=(waiter.switch, "called")
        ).start()
        print(waiter.get())
        """)
        == "woken\ncalled\n"
    )


def test_cancel_wait_raises_where_the_greenlet_waits() -> None:
    assert (
        python("""
        import gevent

        hub = gevent.get_hub()
        watcher = hub.loop.timer(60)

        def wait():
            try:
                hub.wait(watcher)
            except OSError as error:
                print(error)

        waiting = gevent.spawn(wait)
        gevent.sleep(0)
        hub.cancel_wait(watcher, OSError("cancelled"))
        waiting.join()
        """)
        == "cancelled\n"
    )


def test_hubs_end_with_their_threads() -> None:
    assert (
        python("""
        import gc, threading, weakref, gevent

        hubs = []

        def work():
            hub = gevent.get_hub()
            assert hub.loop.run_callback(int)
            gevent.sleep(0)
            hubs.append(weakref.ref(hub))

        main = gevent.get_hub()
        for _ in range(3):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        gc.collect()
        # What is left of the last thread may be kept until the next one ends.
        print([hub() for hub in hubs[:-1]], gevent.get_hub() is main)
        """)
        == "[None, None] True\n"
    )


# Settings and events.


def test_settings_come_from_the_environment_once_and_can_be_set() -> None:
    assert (
        python(
            """
        import os, gevent
        from gevent.resolver.blocking import Resolver

        print(gevent.config.max_blocking_time, gevent.config.max_memory_usage)
        assert gevent.config.resolver is Resolver
        os.environ["GEVENT_MAX_BLOCKING_TIME"] = "3"
        print(gevent.config.max_blocking_time)
        gevent.config.max_blocking_time = 4
        print(gevent.config.max_blocking_time, type(gevent.get_hub().resolver) is Resolver)
        try:
            gevent.config.nothing = 1
        except AttributeError as error:
            print(error)
        """,
            GEVENT_MAX_BLOCKING_TIME="0.5",
            GEVENT_MONITOR_MEMORY_MAX="2mb",
            GEVENT_RESOLVER="nowhere,block",
        )
        == "0.5 2097152\n0.5\n4.0 True\nNo configuration setting for: 'nothing'\n"
    )


def test_events_of_patching_without_zope() -> None:
    assert (
        python("""
        import sys
        sys.modules["zope.event"] = sys.modules["zope.interface"] = None  # not to be found
        from gevent import events, monkey

        def note(event):
            if isinstance(event, events.GeventWillPatchModuleEvent) and event.module_name == "ssl":
                raise events.DoNotPatch
            print(type(event).__name__, getattr(event, "module_name", ""))

        events.subscribers.append(note)
        monkey.patch_all(thread=False, queue=False, os=False, signal=False, select=False, subprocess=False)
        print(monkey.is_module_patched("socket"), monkey.is_module_patched("ssl"))
        """)
        == dedent("""\
        GeventWillPatchAllEvent 
        GeventWillPatchModuleEvent time
        GeventDidPatchModuleEvent time
        GeventWillPatchModuleEvent socket
        GeventDidPatchModuleEvent socket
        GeventDidPatchBuiltinModulesEvent 
        GeventDidPatchAllEvent 
        True False
        """)  # noqa: W291
    )


def test_the_monitor_reports_a_greenlet_that_keeps_its_hub() -> None:
    assert (
        python(
            """
        import io, threading, time, gevent
        from gevent import events

        reported = threading.Event()

        def note(event):
            if isinstance(event, events.EventLoopBlocked):
                reported.set()

        events.subscribers.append(note)
        hub = gevent.get_hub()
        stream = hub.exception_stream = io.StringIO()

        def block():
            end = time.monotonic() + 30
            while not reported.is_set() and time.monotonic() < end:
                sum(range(100))

        gevent.spawn(block).join()
        hub.periodic_monitoring_thread.kill()
        gevent.sleep(0.1)
        report = stream.getvalue()
        print(reported.is_set(), "appears to be blocked" in report, "in block" in report)
        """,
            GEVENT_MONITOR_THREAD_ENABLE="true",
            PYTHONWARNINGS="ignore",
        )
        == "True True True\n"
    )
