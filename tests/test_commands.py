"""Every command of the documentation is run by a test or by .ci/run: the list of which runs which."""

from __future__ import annotations

import re

import pytest

from documents import ROOT, commands_in

PAGES = [
    "README.md",
    *(f"docs/{name}.md" for name in ("deploy", "deploy-celery", "index", "monkey", "servers", "tutorial")),
]

# All of these are in tests/programs/test_documented_commands.py.
RUN_BY = {
    ".venv/bin/gunicorn -k greenpool.gunicorn.Worker app:app": "test_the_landing_page_with_what_is_installed",
    ".venv/bin/pip install greenpool gunicorn flask": "test_the_landing_page_in_a_fresh_environment",
    "CELERY_CUSTOM_WORKER_POOL=greenpool.celery:TaskPool"
    " celery -A app worker -P custom -c 500": "test_celery",
    "CELERY_CUSTOM_WORKER_POOL=greenpool.celery:TaskPool"
    " python -m greenpool --pool-size 4"
    " -m celery -A app worker -P custom -c 500": "test_celery",
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
    assert set(RUN_BY.values()) - set(re.findall(r"^def (test_\w+)", source, re.MULTILINE)) == set()
