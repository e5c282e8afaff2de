"""Rows into documents: a pure function of the row, and the columns it needs.

A field has the name of its column, but for those in COMPUTED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from streamapp.sinks.indices import Index


@dataclass(frozen=True, slots=True)
class Computed:
    """A field made of other columns."""

    columns: tuple[str, ...]
    value: Callable[..., Any]


def _users(ids: list[int] | None, names: list[str] | None) -> list[dict[str, Any]]:
    names = names or []
    return [{"user_id": user} | ({"username": names[i]} if i < len(names) else {}) for i, user in enumerate(ids or [])]


COMPUTED = {"detected_users": Computed(("detected_user_ids", "detected_usernames"), _users)}


def columns(index: Index) -> list[str]:
    """The columns that the documents of an index are made of."""
    return [column for field in index.fields for column in (COMPUTED[field].columns if field in COMPUTED else (field,))]


def select(index: Index) -> str:
    """The statement that reads rows by an array of keys.

    Times come as ISO text in UTC from the database itself: it has times that Python has not (infinity, the year
    10000), and one such row must not stop the others.
    """
    names = [
        f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS {name}"
        if index.fields.get(name, {}).get("type") == "date"
        else name
        for name in columns(index)
    ]
    return f"SELECT {', '.join(names)} FROM {index.table} WHERE {index.key} = ANY($1::bigint[])"  # noqa: S608


def document(index: Index, row: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document of a row, without the fields that have no value."""
    made = {
        field: COMPUTED[field].value(*(row[column] for column in COMPUTED[field].columns))
        if field in COMPUTED
        else row[field]
        for field in index.fields
    }
    return {
        field: value.to_numpy() if index.fields[field]["type"] == "dense_vector" else value
        for field, value in made.items()
        if value is not None
    }


def keys_present(index: Index) -> str:
    """SQL: those of an array of keys that have a row."""
    return f"SELECT {index.key} FROM {index.table} WHERE {index.key} = ANY($1::bigint[])"  # noqa: S608


def same(index: Index, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two documents (None: there is none) are equal. An index gives vectors back to 1e-5: it keeps their
    direction and length apart."""
    if one is None or other is None or one.keys() != other.keys():
        return one is other
    for field, value in one.items():
        if index.fields[field]["type"] != "dense_vector":
            if value != other[field]:
                return False
        elif len(value) != len(other[field]) or not _close(np.asarray(value), np.asarray(other[field])):
            return False
    return True


def _close(one: Any, other: Any) -> bool:
    """What np.allclose says of finite numbers, in a third of its time."""
    return bool((np.abs(one - other) <= 1e-7 + 1e-5 * np.abs(other)).all())


def encode(content: Any) -> bytes:
    """As JSON; float32 vectors with the shortest digits that give the same bits back."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
