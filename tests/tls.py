"""Certificates and connections for the tests of ``greenpool.ssl``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import greenpool
from greenpool import socket, ssl

# A self-signed certificate for "localhost", valid from 2000 to 2099. Its key protects nothing.
CERTIFICATE = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIEz7WxOmFwQNvV2ZZ2+rh/YZDjEBXZT8StIHV1hsrlMuoAoGCCqGSM49
AwEHoUQDQgAEwmfOhBQYWe+ayFsrMcqWpDR6IjFlvhmrEmvdehMyXeR48ikrg/2y
xqWaUlQCvyx5chNbJ4GBseVBIsapf93J5Q==
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMDAwMTAxMDAwMDAwWhgPMjA5OTEyMzEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMJnzoQUGFnvmshb
KzHKlqQ0eiIxZb4ZqxJr3XoTMl3kePIpK4P9ssalmlJUAr8seXITWyeBgbHlQSLG
qX/dyeWjXjBcMB0GA1UdDgQWBBSARgWOMX8UZdfomYCzeEj4GBOMRzAPBgNVHRMB
Af8EBTADAQH/MA4GA1UdDwEB/wQEAwIChDAaBgNVHREEEzARgglsb2NhbGhvc3SH
BH8AAAEwCgYIKoZIzj0EAwIDRwAwRAIgNVKRdLKN63ke8qs6HZ+mUwqGc8poxE2g
82IuTSWGyD8CIEWeo+0EKUE0Qm1JoDMyrcoxrbeq+mXy8P2xyawclnch
-----END CERTIFICATE-----
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_text(CERTIFICATE)
    return str(path)


@pytest.fixture
def server_context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def client_context(certificate: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


@pytest.fixture
def pair(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> Iterator[tuple[Any, Any]]:
    """The two ends of a TLS connection, the server's first."""
    with connected(server_context, client_context) as ends:
        yield ends


@contextmanager
def connected(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, **settings: Any
) -> Iterator[tuple[Any, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    serving = greenpool.spawn(server_context.wrap_socket, far, server_side=True)
    client = client_context.wrap_socket(near, server_hostname="localhost", **settings)
    with client, serving.get() as server:
        yield server, client
