"""The certificate of the TLS servers, made by the ``openssl`` command when it is first needed."""

import os
import subprocess

from benchmarks.compiler import BUILD


def certificate() -> str:
    """Return the path of a PEM file with an RSA key of 2,048 bits and its self-signed certificate.

    Raises OSError or CalledProcessError if there is no ``openssl`` command, or if it fails.
    """
    path = BUILD / "localhost.pem"
    if not path.exists():
        BUILD.mkdir(exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]
        command += ["-subj", "/CN=localhost", "-keyout", "-", "-out", "-"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        unfinished.write_bytes(output)
        unfinished.replace(path)
    return str(path)
