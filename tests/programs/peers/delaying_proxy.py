"""A proxy to the given port. It passes each request on after 0.1 s, and each answer at once.

Every request has to arrive in one piece, as small ones on loopback do.
"""

import socket
import sys
import threading
import time


def copy(source, target, delay):
    while data := source.recv(65536):
        time.sleep(delay)
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def serve(client):
    with client, socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
        answers = threading.Thread(target=copy, args=(server, client, 0))
        answers.start()
        copy(client, server, 0.1)
        answers.join()


with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
    print("port", listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()
