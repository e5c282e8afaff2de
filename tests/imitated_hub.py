"""An imitation of what huggingface_hub asks of a hub, and of a release's file server; no real hub is at hand.

GET  /api/models/{repo}/revision/{revision}?blobs=true     the commit, and every file with size and sums
HEAD /{repo}/resolve/{commit}/{file}                       sums and commit in headers
GET  of the same                                           a small file; for one in LFS a redirect to another host
GET  /cdn/{sha256}, /release/{file}                        bytes, also from a position
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PIECE = 16_384


def blob(content: bytes) -> str:
    """What git calls a file of this content."""
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class ImitatedHub:
    """files: by repository and name; what ends so is in LFS. Faults are set by tests while it runs."""

    url: str = ""
    cdn: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    releases: dict[str, bytes] = field(default_factory=dict)
    licence: str | None = "mit"
    asked: list[str] = field(default_factory=list)  # method, path, and Range if there is one
    status: int = 0  # answers everything so
    damage: set[str] = field(default_factory=set)  # paths whose first byte comes wrong
    cut: dict[str, list[int]] = field(default_factory=dict)  # the next answers of a path end after so many bytes
    hold: dict[str, int] = field(default_factory=dict)  # answers of a path stand still after so many bytes
    let_go: threading.Event = field(default_factory=threading.Event)

    def commit(self, repo: str) -> str:
        """Another one when a file changes."""
        names = sorted(self.files[repo].items())
        return sha1(repr([(name, blob(content)) for name, content in names]).encode()).hexdigest()

    def fetched(self, *, of: str = "") -> list[str]:
        """What was downloaded, in order."""
        return [each for each in self.asked if each.startswith("GET") and "/api/" not in each and of in each]


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ImitatedHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        wanted = self.headers.get("Range")
        self.hub.asked.append(f"{self.command} {path}" + (f" {wanted}" if wanted else ""))
        if self.hub.status:
            self._send(self.hub.status, b"{}", body=body)
        elif path.startswith("/api/models/"):
            self._info(path.removeprefix("/api/models/").partition("/revision/")[0], body=body)
        elif "/resolve/" in path:
            self._resolve(path, body=body)
        else:
            self._bytes(path, body=body)

    def _info(self, repo: str, *, body: bool) -> None:
        if repo not in self.hub.files:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
            return
        siblings = []
        for name, content in self.hub.files[repo].items():
            told: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob(content)}
            if _large(name):
                told["lfs"] = {"sha256": sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            siblings.append(told)
        told = {"id": repo, "sha": self.hub.commit(repo), "siblings": siblings, "private": False, "tags": []}
        if self.hub.licence is not None:
            told["cardData"] = {"license": self.hub.licence}
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"}, body=body)

    def _resolve(self, path: str, *, body: bool) -> None:
        repo, _, rest = path.removeprefix("/").partition("/resolve/")
        commit, _, name = rest.partition("/")
        content = self.hub.files[repo].get(name)
        if commit != self.hub.commit(repo) or content is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body=body)
        elif _large(name):
            digest = sha256(content).hexdigest()
            self._send(
                302,
                b"",
                {
                    "Location": f"{self.hub.cdn}/cdn/{digest}",
                    "X-Repo-Commit": commit,
                    "X-Linked-Size": str(len(content)),
                    "X-Linked-ETag": f'"{digest}"',
                },
                body=body,
            )
        else:
            self._send(200, content, {"X-Repo-Commit": commit, "ETag": f'"{blob(content)}"'}, body=body)

    def _bytes(self, path: str, *, body: bool) -> None:
        found = [
            content
            for files in self.hub.files.values()
            for content in files.values()
            if path == f"/cdn/{sha256(content).hexdigest()}"
        ]
        found += [content for name, content in self.hub.releases.items() if path == f"/release/{name}"]
        if not found:
            self._send(404, b"", body=body)
            return
        content = found[0]
        if path in self.hub.damage:
            content = bytes([content[0] ^ 1]) + content[1:]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._send(206 if start else 200, content[start:], headers, body=body, path=path)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, *, body: bool, path: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        cuts = self.hub.cut.get(path)
        ends, holds = cuts.pop(0) if cuts else len(content), self.hub.hold.get(path, len(content))
        for at in range(0, ends, PIECE):
            if at >= holds:
                self.hub.let_go.wait()
            self.wfile.write(content[at : min(at + PIECE, ends)])
        if ends < len(content):
            self.close_connection = True


def _large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that were killed are no error."""


@contextmanager
def imitated_hub() -> Iterator[ImitatedHub]:
    """One that answers, until the end."""
    hub = ImitatedHub()
    server = _Server(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": hub}))
    hub.url, hub.cdn = (f"http://{host}:{server.server_address[1]}" for host in ("127.0.0.1", "localhost"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def until(true: object, *, seconds: float = 20.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)
