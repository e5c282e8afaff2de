"""What a result message is made of: columns, each a name on the wire, a kind, and the value it carries.

A table of columns is the writer, the reader and the documentation of a message at once. Values come by name from
`views`; a kind turns one into JSON and back. On the wire every field is text: text as it is, booleans `true` and
`false`, numbers in plain decimal, all else JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import orjson

from streamapp.contracts.values import TIME, strict_json
from streamapp.times import iso

Values: TypeAlias = Mapping[str, Any]
ALL = "*"  # a column that is an object made of the same values as the message around it


@dataclass(frozen=True)
class Kind:
    """A type of result field. `write` gives JSON; `read` takes JSON and raises ValueError for another type."""

    about: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    textual: bool = False  # its JSON is a string


@dataclass(frozen=True)
class Column:
    """A field of a result message. An optional one is left out when its value is None, another one is null."""

    wire: str
    kind: Kind
    name: str
    optional: bool = False


Columns: TypeAlias = tuple[Column, ...]


def encode(columns: Columns, values: Values) -> dict[str, str]:
    """The message: every value a string. Raises ValueError when a value cannot be told (not finite, None)."""
    return {wire: text(value) for wire, value in _write(columns, values).items()}


def decode(columns: Columns, fields: Mapping[str, str]) -> dict[str, Any]:
    """The values by name; a field that is absent is None. Raises ValueError, prefixed with the field's name."""
    parsed: dict[str, Any] = {}
    for column in columns:
        if (field := fields.get(column.wire)) is None:
            continue
        try:
            parsed[column.wire] = field if column.kind.textual else strict_json(field)
        except ValueError as error:
            raise ValueError(f"{column.wire}: {error}") from None
    return _read(columns, parsed)


def text(value: Any) -> str:
    """A JSON value as a field has it."""
    match value:
        case str():
            return value
        case None:
            raise ValueError("a field without a value")
        case float() if not math.isfinite(value):
            raise ValueError(f"{value} is no number")
        case float():
            return format(Decimal(repr(value)), "f")
        case _:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _write(columns: Columns, values: Values) -> dict[str, Any]:
    written = {}
    for column in columns:
        value = values if column.name == ALL else values[column.name]
        if value is not None:
            written[column.wire] = column.kind.write(value)
        elif not column.optional:
            written[column.wire] = None
    return written


def _read(columns: Columns, parsed: Any) -> dict[str, Any]:
    if not isinstance(parsed, Mapping):
        raise ValueError("not an object")
    values: dict[str, Any] = {}
    for column in columns:
        value = parsed.get(column.wire)
        try:
            read = None if value is None else column.kind.read(value)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{column.wire}: {error}") from None
        # A value may have two names; the one that is absent says nothing.
        for name, each in (read or {}).items() if column.name == ALL else ((column.name, read),):
            if values.get(name) is None:
                values[name] = each
    return values


def _of(*types: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in types:
            raise ValueError(f"not {' or '.join(t.__name__ for t in types)}")
        return value

    return read


def _write_vector(vector: bytes) -> Any:
    numbers = np.frombuffer(vector, dtype="<f4")
    if not np.isfinite(numbers).all():
        raise ValueError("a vector that is not finite")
    # orjson writes the shortest decimals that are exact as float32; as Python floats they would be twice as long.
    return orjson.loads(orjson.dumps(numbers.astype(np.float32), option=orjson.OPT_SERIALIZE_NUMPY))


def _read_vector(numbers: Any) -> bytes:
    doubles = np.asarray(_read_list(_finite)(numbers), dtype="<f8")
    with np.errstate(over="ignore"):  # the largest float32 is written as a decimal a little beyond it: round first
        vector = doubles.astype("<f4")
    if not np.isfinite(vector).all():
        raise ValueError("beyond float32")
    return vector.tobytes()


def _finite(value: Any) -> float:
    if not math.isfinite(number := float(_of(int, float)(value))):
        raise ValueError("not finite")
    return number


def _read_list(item: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        return tuple(map(item, _of(list)(value)))

    return read


def objects(columns: Columns) -> Kind:
    """A JSON array of objects of these columns; the value is a sequence of values."""
    return Kind(
        f"JSON array of {{{', '.join(column.wire for column in columns)}}}",
        lambda many: [_write(columns, one) for one in many],
        _read_list(lambda one: _read(columns, one)),
    )


def nested(columns: Columns) -> Kind:
    """A JSON object of these columns; the value holds theirs."""
    return Kind(
        f"JSON object {{{', '.join(column.wire for column in columns)}}}",
        lambda values: _write(columns, values),
        lambda value: _read(columns, value),
    )


def as_string(kind: Kind) -> Kind:
    """The kind as text also where it stands inside JSON. Reading also takes it bare: senders differ."""
    return Kind(
        f"text of a {kind.about}",
        lambda value: text(kind.write(value)),
        lambda value: kind.read(strict_json(value) if isinstance(value, str) else value),
        textual=True,
    )


def renamed(about: str, wire: Mapping[str, str]) -> Kind:
    """Words of which some have another name on the wire."""
    ours = {theirs: name for name, theirs in wire.items()}
    return Kind(
        about,
        lambda word: wire.get(word, word),
        lambda word: ours.get(_of(str)(word), word),
        textual=True,
    )


TEXT = Kind("text", str, _of(str), textual=True)
BOOLEAN = Kind("boolean", bool, _of(bool))
INTEGER = Kind("whole number", int, _of(int))
NUMBER = Kind("number", float, _finite)
ISO_TIME = Kind("ISO-8601 time, UTC", iso, TIME.read, textual=True)
EPOCH_TIME = Kind("milliseconds since the epoch", int, _of(int))
TEXTS = Kind("JSON array of texts", list, _read_list(_of(str)))
NUMBERS = Kind("JSON array of numbers", list, _read_list(_of(int, float)))
VECTOR = Kind("JSON array of numbers, float32", _write_vector, _read_vector)
SCORES = Kind("JSON object of numbers by label", dict, _of(dict))
