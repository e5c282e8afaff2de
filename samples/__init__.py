"""Small drawn images that the demo and the tests share, and a server to fetch them from.

`samples/make.py` draws them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(__file__).parent / "images"
NAMES = (
    "beach",
    "beach_people",
    "beach_sunset",
    "forest",
    "street",
    "profile_lena",
    "profile_omar",
    "unsafe",
)
# The hats of the two who are in beach_sunset, from left to right, and each in a profile picture.
HATS = {"lena": ("yellow", "violet", "white"), "omar": ("green", "white", "red")}

HOST = "127.0.0.1"  # where serve() serves
# What a worker must be told to fetch from there, which is no public address.
SETTINGS = {"STREAMAPP_FETCH_ALLOWED_HOSTS": HOST}


def path(name: str) -> Path:
    """The file of a sample. Raises KeyError where there is none of that name."""
    if name not in NAMES:
        raise KeyError(f"no sample {name!r}, there are {', '.join(NAMES)}")
    return FOLDER / f"{name}.jpg"


class Handler(SimpleHTTPRequestHandler):
    """Files, without a line for every request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


@contextmanager
def serve(
    *,
    host: str = HOST,
    port: int = 0,
    folder: Path = FOLDER,
    handler: type[Handler] = Handler,
    kind: type[ThreadingHTTPServer] = ThreadingHTTPServer,
) -> Iterator[str]:
    """Serve the files of a folder over HTTP while the block runs; gives the base URL, as in f"{base_url}/beach.jpg"."""
    with kind((host, port), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
