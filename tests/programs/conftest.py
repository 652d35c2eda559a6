"""The servers that tests of several files need, each started once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import servers
from .django_site import make_site


@pytest.fixture(scope="session")
def http_port() -> Iterator[int]:
    with servers.python_server("http_server.py") as port:
        yield port


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1. Its key is beside it, in key.pem."""
    openssl = servers.executable("openssl")
    directory = tmp_path_factory.mktemp("certificate")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, check=True, capture_output=True, cwd=directory)
    return directory / "certificate.pem"


@pytest.fixture(scope="session")
def https_port(certificate: Path) -> Iterator[int]:
    with servers.python_server("http_server.py", certificate, certificate.with_name("key.pem")) as port:
        yield port


@pytest.fixture(scope="session")
def postgresql_port() -> Iterator[int]:
    with servers.postgresql() as port:
        yield port


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a site of Django, which is the current one."""
    pytest.importorskip("django")
    monkeypatch.chdir(tmp_path)
    make_site(tmp_path)
    return tmp_path
