"""The form of a dead letter: original key and bytes, and headers that tell where it came from and why."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from streamapp.times import iso, now

KEPT_BYTES = 32 * 1024  # of a value that is too large to be kept whole


def cut(value: bytes) -> tuple[bytes, dict[str, str]]:
    """The beginning of a value that is too large, and headers by which the whole can be known."""
    return value[:KEPT_BYTES], {"length": str(len(value)), "sha256": hashlib.sha256(value).hexdigest()}


def dead_letter_headers(*, origin: str, error: Exception, headers: Mapping[str, bytes]) -> dict[str, str]:
    """The original headers plus `origin`, `error` (one line) and `time`."""
    kept = {name: value.decode("utf-8", "replace") for name, value in headers.items()}
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return {**kept, "origin": origin, "error": text[:2000], "time": iso(now())}
