"""Artefacts of a version, put once into a directory that all checkouts share."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from stack.account import let_everyone_read


def cache_directory() -> Path:
    """Root's is where the servers' account can read it; a user's is where the XDG specification says."""
    if os.geteuid() == 0:
        return Path("/var/cache/streamapp")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamapp"


def cached(key: str, fill: Callable[[Path], None], *, cache: Path | None = None) -> Path:
    """The directory of this name in the cache; where it is missing, `fill` makes its content first.

    It appears complete or not at all: `fill` gets a draft, which takes the name only when `fill` returns.
    """
    cache = cache or cache_directory()
    target, draft = cache / key, cache / f"{key}.draft"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        cache.chmod(0o755)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():  # another checkout made it while we waited
            return target
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        fill(draft)
        let_everyone_read(draft)
        draft.rename(target)
    return target
