"""The SQL files of the checkout, or of the installed distribution."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2] / "sql"
_INSTALLED = Path(sys.prefix) / "share" / "streamapp" / "sql"

_QUERY = re.compile(r"^-- (\w+) --\n", re.MULTILINE)


def directory() -> Path:
    """The directory with `migrations` and `queries`. Raises FileNotFoundError when there is none."""
    for path in (_CHECKOUT, _INSTALLED):
        if path.is_dir():
            return path
    raise FileNotFoundError(f"no SQL files in {_CHECKOUT} nor in {_INSTALLED}")


@cache
def queries(file: str) -> dict[str, str]:
    """The named statements of `queries/<file>.sql`; each begins with a line `-- name --`."""
    _, *parts = _QUERY.split((directory() / "queries" / f"{file}.sql").read_text())
    return dict(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))
