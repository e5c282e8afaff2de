"""Fetched files kept on disk within a size: for after a restart, or when the picture was pushed out of memory."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import threading
import time
from collections import Counter
from pathlib import Path

logger = logging.getLogger(__name__)

DIGEST_BYTES = hashlib.sha256().digest_size
DRAFT = ".draft"
DRAFT_SECONDS = 3600  # an older draft is that of a process that was killed
FULL = 0.9  # of the size: kept at most after each look, the rest is for what comes until the next


class Files:
    """Files by (url, generation), the oldest dropped first; any number of processes may share the directory.

    It is never in the way of the work: a file that cannot be read or is damaged is not there, one that cannot be
    written (disk full) is not kept, and both are counted. Blocks, may be called from several threads.
    max_bytes: of all files. It is exceeded by a tenth per further process at most.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._unseen: int | None = None  # bytes written since the directory was last looked at
        self._lock = threading.Lock()
        self.troubles: Counter[str] = Counter()  # "read", "damaged", "write": files that were given up

    def get(self, url: str, generation: str) -> bytes | None:
        """The file as it was put, None when it is not there."""
        path = self._path(url, generation)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._trouble("read", error)
            return None
        digest, raw = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(raw).digest() == digest:
            return raw
        self._trouble("damaged", f"{path} is damaged")
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def put(self, url: str, generation: str, raw: bytes) -> None:
        """Keep a file, unless it is larger than half of all room."""
        size = DIGEST_BYTES + len(raw)
        if size > self._max_bytes // 2:
            return
        path = self._path(url, generation)
        draft = path.with_name(f"{path.name}-{os.getpid()}-{threading.get_ident()}{DRAFT}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                # Not synchronised: what a crash of the machine leaves half written has another digest.
                file.write(hashlib.sha256(raw).digest())
                file.write(raw)
            draft.replace(path)
        except OSError as error:
            self._trouble("write", error)
            with contextlib.suppress(OSError):
                draft.unlink()

    def _path(self, url: str, generation: str) -> Path:
        # The length keeps apart what would be the same text; a URL may have any character.
        name = f"{len(url)} {url} {generation}".encode("utf-8", "surrogatepass")
        return self._directory / hashlib.sha256(name).hexdigest()

    def _make_room(self, size: int) -> None:
        """Count `size` bytes to come, and look at the directory after each tenth of all room. Raises OSError."""
        with self._lock:
            if self._unseen is not None and self._unseen + size <= self._max_bytes * (1 - FULL):
                self._unseen += size
                return
            found = sorted(self._entries())
            excess = sum(entry_size for _, entry_size, _ in found) + size - int(self._max_bytes * FULL)
            for _, entry_size, path in found:
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)  # another process may have been faster
                excess -= entry_size
            self._unseen = 0

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Of each file its age as the time it was written, its size, and its path. What is no file is not ours."""
        entries = []
        for path in self._directory.iterdir():
            try:
                status = path.lstat()
            except FileNotFoundError:  # dropped or renamed by another process
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            if path.suffix == DRAFT and time.time() - status.st_mtime > DRAFT_SECONDS:
                path.unlink(missing_ok=True)
            else:
                entries.append((status.st_mtime, status.st_size, path))
        return entries

    def _trouble(self, kind: str, error: object) -> None:
        self.troubles[kind] += 1
        if self.troubles[kind] == 1:  # a full disk is full for each of many files
            logger.warning("kept files: %s: %s; further ones are counted only", kind, error)
