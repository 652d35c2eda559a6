"""A name server over UDP: it answers for the names that it is given, and asks another server for the rest.

    python examples/nameserver.py NAME=ADDRESS ... [UPSTREAM:PORT]
    dig -p PORT @127.0.0.1 NAME

Each query has a greenlet of its own, so a query for which the other server takes its time delays no other.
"""

from __future__ import annotations

import contextlib
import struct
import sys

import greenpool
from greenpool import socket

HEADER = struct.Struct("!6H")  # identifier, flags, and the numbers of questions, answers and others
RECORD = struct.Struct("!3HIH4s")  # name, type, class, seconds to live, length, address
SAME_NAME = 0xC00C  # that of the question
A, INTERNET = 1, 1
RESPONSE, SERVER_FAILURE = 0x8000, 2
SECONDS_TO_LIVE = 60
SECONDS_TO_WAIT = 2


class NameServer:
    def __init__(self, names: dict[str, str], upstream: tuple[str, int] | None) -> None:
        self.names = names
        self.upstream = upstream
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))

    def run(self) -> None:
        while True:
            query, client = self.socket.recvfrom(4096)
            greenpool.spawn(self.serve, query, client)

    def serve(self, query: bytes, client: tuple[str, int]) -> None:
        # What is no query gets no answer.
        with contextlib.suppress(IndexError, UnicodeDecodeError, struct.error):
            self.socket.sendto(self.answer(query), client)

    def answer(self, query: bytes) -> bytes:
        identifier, flags, *_ = HEADER.unpack_from(query)
        name, kind, question = read_question(query)
        if name in self.names:
            address = socket.inet_aton(self.names[name])
            record = RECORD.pack(SAME_NAME, A, INTERNET, SECONDS_TO_LIVE, len(address), address)
            answers = [record] if kind == A else []
            header = HEADER.pack(identifier, flags | RESPONSE, 1, len(answers), 0, 0)
            return header + question + b"".join(answers)
        with contextlib.suppress(OSError):
            return self.ask_upstream(query)
        return HEADER.pack(identifier, flags | RESPONSE | SERVER_FAILURE, 1, 0, 0, 0) + question

    def ask_upstream(self, query: bytes) -> bytes:
        if self.upstream is None:
            raise OSError("there is no other server to ask")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(SECONDS_TO_WAIT)
            asking.connect(self.upstream)
            asking.send(query)
            return asking.recv(4096)


def read_question(query: bytes) -> tuple[str, int, bytes]:
    """The name that is asked for, the type of record, and the whole question as it came."""
    labels = []
    end = HEADER.size
    while length := query[end]:
        labels.append(query[end + 1 : end + 1 + length].decode("ascii").lower())
        end += 1 + length
    (kind,) = struct.unpack_from("!H", query, end + 1)
    return ".".join(labels), kind, query[HEADER.size : end + 5]


def main(*arguments: str) -> None:
    names = dict(argument.split("=") for argument in arguments if "=" in argument)
    others = [argument.split(":") for argument in arguments if "=" not in argument]
    server = NameServer(names, (others[0][0], int(others[0][1])) if others else None)
    with server.socket:
        print("names on UDP port", server.socket.getsockname()[1], flush=True)
        server.run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        greenpool.run(main, *sys.argv[1:])
