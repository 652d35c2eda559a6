"""A standard HTTP/1.1 server, with TLS if a certificate and its key are given.

/slow answers after 0.1 s. /connections answers with the number of connections so far.
"""

import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

connections = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Send head and body in one segment. Otherwise the delayed ACK of a kept connection costs 0.04 s.
    wbufsize = -1

    def setup(self):
        super().setup()
        connections.add(self.client_address)

    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(0.1)
        body = str(len(connections)) if self.path == "/connections" else f"answer to {self.path}"
        self.answer(body.encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:])
    # The threads make the handshakes, so a slow handshake does not hold up other connections.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("port", server.server_port, flush=True)
server.serve_forever()
