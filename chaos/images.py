"""The images of the load over HTTP: the samples, and files that fail each in their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import samples


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/busy.jpg":
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        elif self.path == "/text.jpg":
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            self.wfile.write(b"I am a text, whatever my name says.\n")
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A worker that is killed while it fetches is no news."""


@contextmanager
def serve() -> Iterator[str]:
    """Serve while the block runs; gives the base URL."""
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=str(samples.FOLDER))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
