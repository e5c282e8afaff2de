"""Values of the backend that are wider than our columns: one that does not fit must not cost a media its rows."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from streamapp.sinks.readmodels import READ_MODELS

_WIDTH = re.compile(r"varchar\((\d+)\)")
_INTEGER = 2**31


def fit(table: str, row: dict[str, Any]) -> list[str]:
    """Cut texts that are wider than their column, and leave out numbers beyond it, in place; what was done."""
    done = []
    texts, numbers = _limits(table)
    for name, width in texts:
        if (text := row[name]) is not None and len(text) > width:
            row[name] = text[:width]
            done.append(f"{table}.{name}: {len(text)} characters are cut to {width}")
    for name in numbers:
        if (number := row[name]) is not None and not -_INTEGER <= number < _INTEGER:
            row[name] = None
            done.append(f"{table}.{name}: {number} is no 32-bit integer")
    return done


@cache
def _limits(table: str) -> tuple[list[tuple[str, int]], list[str]]:
    """Columns with their width in characters, and columns of 32-bit integers."""
    columns = READ_MODELS[table].columns
    widths = [(name, int(found[1])) for name, kind in columns.items() if (found := _WIDTH.fullmatch(kind))]
    return widths, [name for name, kind in columns.items() if kind == "integer"]
