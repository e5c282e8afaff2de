"""How a single value of an inbound message is read: types that accept every spelling in use.

A reader takes text and gives a value or raises ValueError; what it accepts is said by its type, which errors and the
documentation repeat.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar, get_args

from streamapp.contracts.records import INDICES, Index, Operation, Snapshot
from streamapp.times import EPOCH

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ID_LIMIT = 200  # characters; ids of the tables are at most 20, uuids 36
CORRELATION_LIMIT = 1000
URL_LIMIT = 8192
TITLE_LIMIT = 10_000
LIST_LIMIT = 10_000  # media of one post
COUNT_LIMIT = 2**31 - 1  # INTEGER columns
LAST_MS = 253_402_300_799_999  # end of the year 9999, the last that ISO-8601 and datetime can write

# Surrogates stand for bytes that were not UTF-8: they could not be written back as text.
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TRUE, _FALSE = {"true", "1", "1.0"}, {"false", "0", "0.0"}
_DELETIONS = {"delete", "deleted", "remove", "removed"}
_UPSERTS = {"index", "insert", "update", "upsert", "create"}


@dataclass(frozen=True)
class Type(Generic[T_co]):
    """What is accepted, in words, and the function that reads it."""

    accepted: str
    read: Callable[[str], T_co]


def strict_json(text: str) -> Any:
    """The JSON value; numbers that are no JSON (NaN) and too deep nesting are a ValueError like all else."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def as_text(value: Any) -> str:
    """A JSON value as a field has it: text is itself, all else its JSON. Raises ValueError when nested too deep."""
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        raise ValueError("nested too deep") from None


def is_quoted(text: str) -> bool:
    """Whether text looks like a JSON string literal, as serialising templates write every string."""
    return len(text) > 1 and text[0] == '"' == text[-1]


def unquote(text: str) -> str:
    """The string inside a JSON string literal; any other text as it is."""
    if not is_quoted(text):
        return text
    try:
        inner = json.loads(text)
    except ValueError:
        return text
    return inner if isinstance(inner, str) else text


def _text(unwanted: re.Pattern[str], limit: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > limit or unwanted.search(text):
            raise ValueError
        return text

    return read


def _id(text: str) -> str:
    if not text.strip():
        raise ValueError
    return _text(_CONTROL, ID_LIMIT)(text)


def _url(text: str) -> str:
    if not text.strip():
        raise ValueError
    return _text(_CONTROL, URL_LIMIT)(text.strip())


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _count(text: str) -> int:
    # int() alone would also take "1_000", digits of other scripts, and a megabyte of digits.
    if not re.fullmatch(r"\s*[0-9]{1,10}(\.0+)?\s*", text, re.ASCII):
        raise ValueError
    if (number := int(text.strip().partition(".")[0])) > COUNT_LIMIT:
        raise ValueError
    return number


def _time(text: str) -> int:
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,15}", text, re.ASCII):
        milliseconds = int(text)
    else:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        try:
            milliseconds = (moment - EPOCH) // timedelta(milliseconds=1)
        except OverflowError:
            raise ValueError from None
    if not 0 <= milliseconds <= LAST_MS:
        raise ValueError
    return milliseconds


def _entry_id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}-[0-9]{1,20}", text, re.ASCII):
        raise ValueError
    if (milliseconds := int(text.partition("-")[0])) > LAST_MS:
        raise ValueError
    return milliseconds


def _ids(text: str) -> tuple[str, ...]:
    text = text.strip()
    if text.startswith("["):
        # Numbers stay the digits that came: an id is no number.
        try:
            items = json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
        except RecursionError:
            raise ValueError from None
    else:
        items = [part.strip() for part in text.split(",") if part.strip()]
    if not all(isinstance(item, str) for item in items):
        raise ValueError
    unique = dict.fromkeys(items)
    if len(unique) > LIST_LIMIT:
        raise ValueError
    return tuple(map(ID.read, unique))


def _is_deletion(text: str) -> bool:
    return text.strip().lower() in _DELETIONS


def _operation(text: str) -> Operation:
    if _is_deletion(text):
        return "delete"
    if text.strip().lower() in _UPSERTS:
        return "index"
    raise ValueError


def _index(text: str) -> tuple[Index, bool]:
    name = text.strip().lower().removeprefix("read_model_").removesuffix("_read_model")
    if name == "media_search_bulk":
        return "media_search", True
    name = "known_faces_index" if name == "known_faces" else name
    for index in INDICES:
        if index == name:
            return index, False
    raise ValueError


def _snapshots(text: str) -> tuple[Snapshot, ...]:
    items = strict_json(text)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError
    return tuple(_snapshot(item) for item in items)


def _snapshot(item: dict[str, Any]) -> Snapshot:
    verdict = item.get("isSafe")
    return Snapshot(
        media_id=ID.read(as_text(item.get("mediaId", ""))),
        is_safe=None if verdict is None else _boolean(as_text(verdict)),
    )


ID = Type(f"text of 1 to {ID_LIMIT} characters, not blank, no control characters", _id)
CORRELATION = Type(f"text of 1 to {CORRELATION_LIMIT} characters without NUL", _text(_UNWRITABLE, CORRELATION_LIMIT))
URL = Type(f"a URL of at most {URL_LIMIT} characters", _url)
TITLE = Type(f"text of at most {TITLE_LIMIT} characters without NUL", _text(_UNWRITABLE, TITLE_LIMIT))
BOOLEAN = Type("true, false, 1 or 0", _boolean)
COUNT = Type(f"a whole number from 0 to {COUNT_LIMIT}", _count)
TIME = Type("an ISO-8601 time or milliseconds since the epoch", _time)
ENTRY_ID = Type("an entry id, milliseconds-sequence, until the year 9999", _entry_id)
IDS = Type(f"at most {LIST_LIMIT} ids, as a JSON array or separated by commas", _ids)
DELETION = Type("DELETE or DELETED deletes; anything else does not", _is_deletion)
OPERATION = Type("INDEX, INSERT, UPDATE, UPSERT, CREATE or DELETE, in any case", _operation)
INDEX = Type(
    f"{', '.join(get_args(Index))}, media_search_bulk, or a table read_model_… or …_read_model of these",
    _index,
)
SNAPSHOTS = Type("a JSON array of objects with mediaId and, if known, isSafe", _snapshots)
