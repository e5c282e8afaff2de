"""Time as it is kept here: milliseconds since the epoch; and as it is written: ISO-8601 UTC with Z."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def iso(milliseconds: int) -> str:
    """ISO-8601 UTC with milliseconds and Z."""
    moment = EPOCH + timedelta(milliseconds=milliseconds)  # exact, unlike a float of seconds
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
