"""Every command of the documentation is run by a test or by .ci/run: the list of which runs which."""

from __future__ import annotations

import re

import pytest

from documents import ROOT, commands_in

PAGES = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "as-gevent",
            "debug",
            "deploy",
            "deploy-celery",
            "deploy-dask",
            "hang-at-night",
            "index",
            "live-page",
            "monkey",
            "profilers",
            "pytest-plugin",
            "servers",
            "trace",
            "tutorial",
        )
    ),
]

COMMAND_TESTS = "tests/console/test_console.py"
FLEET_TESTS = "tests/programs/test_fleet.py"
GEVENT_TESTS = "tests/programs/test_as_gevent.py"
NIGHT_TESTS = "tests/test_hang_at_night.py"
PROFILER_TESTS = "tests/programs/test_profilers.py"
PYTEST_TESTS = "tests/test_pytest_plugin_patched.py"
WEB_TESTS = "tests/console/test_web.py"
CELERY = "CELERY_CUSTOM_WORKER_POOL=greenpool.celery:TaskPool"

# No test runs these.
BY_HAND = ("it takes minutes, and a test that is late counts as lost", "it needs a second machine")

# The test that runs each, in tests/programs/test_documented_commands.py, or the file of the test.
RUN_BY = {
    ".venv/bin/gunicorn -k greenpool.gunicorn.Worker app:app": "test_the_landing_page_with_what_is_installed",
    ".venv/bin/pip install greenpool gunicorn flask": "test_the_landing_page_in_a_fresh_environment",
    f"{CELERY} celery -A app worker -P custom -c 500 -l INFO": "test_celery",
    f"{CELERY} python -m greenpool --pool-size 4"
    " -m celery -A app worker -P custom -c 500 -l INFO": "test_celery",
    f"BROKER=redis://localhost:6379/0 {CELERY}"
    " celery -A fleet_tasks worker -P custom -c 500 -l INFO": FLEET_TESTS,
    "BROKER=redis://localhost:6379/0 python fleet.py celery http://localhost:8000/": FLEET_TESTS,
    "GREENPOOL_STALL=0.5 python -m greenpool --pool-size=2 examples/hang_at_night.py": NIGHT_TESTS,
    "SCHEDULER=tcp://localhost:8786 python fleet.py dask http://localhost:8000/": FLEET_TESTS,
    "coverage report --include=app.py": PROFILER_TESTS,
    "coverage run --concurrency=thread,greenlet -m greenpool app.py": PROFILER_TESTS,
    "dask scheduler --host localhost --port 8786": FLEET_TESTS,
    "dask worker tcp://localhost:8786 --nthreads 500 --preload greenpool.dask": FLEET_TESTS,
    "greenpool ps 4711": COMMAND_TESTS,
    "greenpool repl 4711": COMMAND_TESTS,
    "greenpool run app.py": COMMAND_TESTS,
    "greenpool stacks 4711": COMMAND_TESTS,
    "greenpool top 4711": COMMAND_TESTS,
    "greenpool top 4711 --count 1": NIGHT_TESTS,
    "greenpool trace 4711": "tests/trace/test_command.py",
    "greenpool trace 4711 --seconds 5 -o trace.html": "tests/trace/test_command.py",
    "greenpool web 4711": WEB_TESTS,
    "greenpool web 4711 --browser": WEB_TESTS,
    "greenpool web 4711 --port 8099": WEB_TESTS,
    "memray flamegraph profile.bin": PROFILER_TESTS,
    "memray run --output profile.bin -m greenpool app.py": PROFILER_TESTS,
    "pip install greenpool[wsgi]": "tests/test_packaging.py",
    "py-spy dump --pid 4711": NIGHT_TESTS,
    "py-spy record --format raw --threads --output profile.txt"
    " -- python -m greenpool --pool-size 2 app.py": PROFILER_TESTS,
    "py-spy record --pid 4711 --duration 10 --output profile.svg": PROFILER_TESTS,
    "pytest --greenpool-patch": PYTEST_TESTS,
    "python -m greenpool --as-gevent -m celery -A app worker -P gevent": GEVENT_TESTS,
    "python -m greenpool --as-gevent -m locust -f locustfile.py": GEVENT_TESTS,
    "python -m greenpool --as-gevent app.py": "tests/test_as_gevent.py",
    "python -m greenpool -m debugpy --listen 5678 --wait-for-client app.py": "tests/programs/test_debugpy.py",
    "python -m greenpool -m pdb app.py": PROFILER_TESTS,
    "python -m greenpool -m pytest": PYTEST_TESTS,
    "python fleet.py here http://localhost:8000/": FLEET_TESTS,
    "scripts/gevent-tests": BY_HAND[0],
    "ssh -L 8099:127.0.0.1:8099 server greenpool web 4711 --port 8099": BY_HAND[1],
    "django-admin startproject mysite .": "test_django",
    "gunicorn -k greenpool.gunicorn.Worker --threads 2 app:app": "test_gunicorn_with_two_hubs",
    "gunicorn -k greenpool.gunicorn.Worker mysite.wsgi": "test_django",
    "gunicorn app:app": "test_gunicorn_by_its_configuration",
    "pip install greenpool": "test_the_dockerfile_in_a_fresh_environment",
    "pip install greenpool gunicorn flask": "test_the_dockerfile_in_a_fresh_environment",
    "python -m greenpool --native grpc,zmq app.py": "test_native_modules",
    "python -m greenpool --pool-size 4 -m http.server": "test_a_module_of_the_standard_library",
    "python -m greenpool --pool-size 4 -m module arguments": "test_programs_and_modules",
    "python -m greenpool -m flask run": "test_flask_run",
    "python -m greenpool -m gunicorn -k gthread --threads 1000 mysite.wsgi": "test_django",
    "python -m greenpool -m uvicorn app:app": "test_uvicorn",
    "python -m greenpool app.py --port 8080": "test_programs_and_modules",
    "python -m greenpool app.py arguments": "test_programs_and_modules",
    "python -m greenpool manage.py runserver": "test_django",
    "python serve.py": "test_draining",
    "python3 -m venv .venv": "test_the_landing_page_in_a_fresh_environment",
    "systemd-analyze verify ./app.service": "test_the_unit_of_systemd",
}

# The README's are run, word for word, by .ci/run and by tests/test_readme.py.
RUN_BY_CI = set(commands_in(ROOT / "README.md"))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_run(page: str) -> None:
    commands = set(commands_in(ROOT / page))
    assert commands
    assert commands - set(RUN_BY) - RUN_BY_CI == set(), "have a test run it, and name it in RUN_BY"


def test_the_list_has_nothing_that_is_on_no_page() -> None:
    commands = {each for page in PAGES for each in commands_in(ROOT / page)}
    assert set(RUN_BY) - commands == set()


def test_the_tests_are_there() -> None:
    source = (ROOT / "tests" / "programs" / "test_documented_commands.py").read_text(encoding="utf-8")
    named = set(RUN_BY.values()) - set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))
    assert {name for name in named if not (ROOT / name).is_file()} == set(BY_HAND)
