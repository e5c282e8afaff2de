"""The images of the load over HTTP: the samples, and files that fail each in their way."""

from __future__ import annotations

from contextlib import AbstractContextManager
from http import HTTPStatus
from http.server import ThreadingHTTPServer

import samples


class _Handler(samples.Handler):
    def do_GET(self) -> None:  # noqa: N802 - the name is the base class's
        if self.path == "/busy.jpg":
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        elif self.path == "/text.jpg":
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            self.wfile.write(b"I am a text, whatever my name says.\n")
        else:
            super().do_GET()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A worker that is killed while it fetches is no news."""


def serve() -> AbstractContextManager[str]:
    """Serve while the block runs; gives the base URL."""
    return samples.serve(handler=_Handler, kind=_Server)
