"""An HTTPS server that writes down what is posted there, as a service for push messages takes it."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

from tests.support.certificates import Certificate


class _Handler(BaseHTTPRequestHandler):
    server: "PostingServer"

    def do_POST(self) -> None:
        self.server.told.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class PostingServer(HTTPServer):
    """The server; `told` is what was posted, in order."""

    def __init__(self, address: str, port: int, certificate: Certificate) -> None:
        super().__init__((address, port), _Handler)
        self.told: list[str] = []
        self.socket = certificate.server_context().wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
