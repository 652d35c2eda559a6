"""asyncio in green threads of a patched program: each has a running loop of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunScript = Callable[[str], str]

PATCHED = """
from greenpool import monkey
monkey.patch_all()
import asyncio, sys, threading, time

def on_one_hub(function):
    # The children of a green thread stay on its hub.
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()

def all_at_once(functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

TWELVE = """
async def job(number):
    loop = asyncio.get_running_loop()

    def check():
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is not None

    async def serve(reader, writer):
        line = await reader.readline()
        time.sleep(0.001)  # a callback that parks
        check()
        writer.write(line)
        await writer.drain()
        writer.close()

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"%d\\n" % number)
        line = await reader.readline()
        writer.close()
        return int(line)

    async def run_out_of_time():
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            check()
            return number

    async def run_process():
        process = await asyncio.create_subprocess_exec("echo", str(number), stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        check()
        return int(output)

    async def run_in_thread():
        def work():
            time.sleep(0.01)
            assert asyncio._get_running_loop() is None
            return number

        result = await asyncio.to_thread(work)
        check()
        return result

    async def generate():
        for _ in range(3):
            await asyncio.sleep(0.001)
            yield number

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(port)) for _ in range(3)]
        tasks += map(group.create_task, [run_out_of_time(), run_process(), run_in_thread()])
        assert [item async for item in generate()] == [number] * 3
        time.sleep(0.001)
        check()
    server.close()
    return [task.result() for task in tasks] == [number] * 6

right = []

def run(number):
    right.append(asyncio.run(job(number), debug=False))
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == (None, None)

on_one_hub(lambda: all_at_once([lambda number=number: run(number) for number in range(12)]))
print(right == [True] * 12)
"""


def test_twelve_threads_of_one_hub_each_run_a_loop(run_script: RunScript) -> None:
    # CPython warns of its own child watcher in 3.12 only.
    assert run_script(PATCHED + "import warnings; warnings.simplefilter('ignore')\n" + TWELVE) == "True\n"


def test_no_other_thread_sees_a_loop(run_script: RunScript) -> None:
    script = """
seen = []

def look():
    for _ in range(5):
        time.sleep(0.001)
        seen.append(asyncio._get_running_loop())

on_one_hub(lambda: all_at_once([look, lambda: asyncio.run(asyncio.sleep(0.02)), look]))
print(set(seen))
"""
    assert run_script(PATCHED + script) == "{None}\n"


def test_loop_runs_within_a_thread_that_another_loop_has_started(run_script: RunScript) -> None:
    script = """
async def inner():
    await asyncio.sleep(0.001)
    return "inner"

async def outer():
    return await asyncio.to_thread(asyncio.run, inner())

print(asyncio.run(outer()))
"""
    assert run_script(PATCHED + script) == "inner\n"


@pytest.mark.parametrize("first", ["import asyncio", "from greenpool import monkey"])
def test_asyncio_may_be_imported_before_or_after_patching(run_script: RunScript, first: str) -> None:
    script = f"""
{first}
from greenpool import monkey
monkey.patch_all()
import asyncio, threading, time
seen = []

def look():
    time.sleep(0.001)
    seen.append(asyncio._get_running_loop())

def parent():
    thread = threading.Thread(target=look)
    thread.start()
    asyncio.run(asyncio.sleep(0.01))
    thread.join()

thread = threading.Thread(target=parent)
thread.start()
thread.join()
print(seen, monkey.is_module_patched("asyncio.events"))
"""
    assert run_script(script) == "[None] True\n"


def test_patching_does_not_import_asyncio(run_script: RunScript) -> None:
    script = """
import sys
from greenpool import monkey
monkey.patch_all()
print("asyncio" in sys.modules)
"""
    assert run_script(script) == "False\n"


def test_result_of_a_thread_wakes_the_loop_at_once(run_script: RunScript) -> None:
    # CPython 3.13.12 and 3.14.3 take a future for one of the running loop by looking at that loop.
    script = """
import asyncio.futures as futures

def chain(source, destination):
    loop = destination.get_loop() if futures.isfuture(destination) else None

    def done(source):
        if loop is None or loop is asyncio._get_running_loop():
            futures._copy_future_state(source, destination)
        else:
            loop.call_soon_threadsafe(futures._copy_future_state, source, destination)

    source.add_done_callback(done)

futures._chain_future = chain

async def main():
    return await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.01), 20)

def measure():
    start = time.monotonic()
    asyncio.run(main())
    print(time.monotonic() - start < 10)

on_one_hub(measure)
"""
    assert run_script(PATCHED + script) == "True\n"
