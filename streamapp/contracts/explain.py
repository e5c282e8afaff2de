"""Why a message is read as it is, for the person who connects a backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streamapp.contracts.columns import Column
from streamapp.contracts.dialect import ADDITIONS, COMMON, Dialect
from streamapp.contracts.dialects import DIALECTS
from streamapp.contracts.entry import Entry
from streamapp.contracts.errors import ContractError
from streamapp.contracts.examples import REQUESTS
from streamapp.contracts.paste import parse
from streamapp.contracts.readers import read_entry
from streamapp.contracts.results import read_result
from streamapp.contracts.streams import INBOUND, INSIGHTS, OUTBOUND

__all__ = ["Reading", "Report", "explain", "explain_text", "parse"]

ENTRY_ID = "0-0"  # of a message that was pasted without one


@dataclass(frozen=True)
class Reading:
    """A field that was used: its name on the wire, what it is, and the value that was read."""

    name: str
    attribute: str
    value: Any


@dataclass(frozen=True)
class Report:
    """What became of a message: `record` when it is accepted, else `error`.

    `dialects` are those it looks most like, `likeness` how much (1: exactly their fields). `stream_given` tells a
    stream that was named from a guessed one.
    """

    stream: str
    stream_given: bool
    dialects: tuple[str, ...]
    likeness: float
    readings: tuple[Reading, ...]
    ignored: tuple[str, ...]
    record: dict[str, Any] | None
    error: str | None


def explain_text(text: str, stream: str | None = None) -> list[Report]:
    """A report for every message in pasted text. Raises ValueError when there is none."""
    return [explain(fields, stream=stream or named) for named, fields in parse(text)]


def explain(fields: Mapping[str, str], *, stream: str | None = None) -> Report:
    """How the message is read, as an entry of `stream` or, without one, of the stream it looks most like."""
    possible = [form for form in _forms() if stream is None or form.stream == stream]
    # Dialects share names of fields but not their types: one that can read the message is the likelier.
    forms = [form for form in possible if form.reads(fields)] or possible
    likeness = max((form.likeness(fields) for form in forms), default=0.0)
    best = [form for form in forms if likeness and form.likeness(fields) == likeness]
    guessed = stream or (best[0].stream if best else INBOUND[0])
    dialects = tuple(dict.fromkeys(form.dialect for form in best if form.dialect and form.stream == guessed))
    readings, record, error = _read(guessed, fields, dialects)
    used = {reading.name for reading in readings}
    return Report(
        stream=guessed,
        stream_given=stream is not None,
        dialects=dialects,
        likeness=round(likeness, 2),
        readings=readings,
        ignored=tuple(name for name in fields if name not in used),
        record=record,
        error=error,
    )


def _read(
    stream: str, fields: Mapping[str, str], dialects: tuple[str, ...]
) -> tuple[tuple[Reading, ...], dict[str, Any] | None, str | None]:
    if stream in OUTBOUND:
        return _read_result(stream, fields, dialects)
    entry = Entry(stream, fields, ENTRY_ID)
    record, error = None, None
    try:
        record = msgspec.to_builtins(read_entry(entry))
    except ContractError as refusal:
        error = str(refusal)
    taken = tuple(Reading(taken.name, taken.attribute, msgspec.to_builtins(taken.value)) for taken in entry.taken)
    return taken, record, error


def _read_result(
    stream: str, fields: Mapping[str, str], dialects: tuple[str, ...]
) -> tuple[tuple[Reading, ...], dict[str, Any] | None, str | None]:
    """As one of ours: the first of the dialects that can read it."""
    error = None
    for name in dialects or DIALECTS:
        try:
            record = read_result(stream, fields, name)
        except ContractError as refusal:
            error = error or str(refusal)
            continue
        names = {column.wire: column.name for column in _columns(DIALECTS[name], stream)}
        readings = tuple(Reading(wire, names[wire], record.get(names[wire])) for wire in fields if wire in names)
        return readings, record, None
    return (), None, error


@dataclass(frozen=True)
class _Form:
    """Names that occur together in one kind of message; no dialect where no document shows it."""

    dialect: str | None
    stream: str
    names: frozenset[str]

    def reads(self, fields: Mapping[str, str]) -> bool:
        """Whether the dialect can read the message as a result; of requests nothing is known before reading."""
        if self.stream in INBOUND or self.dialect is None:
            return True
        try:
            read_result(self.stream, fields, self.dialect)
        except ContractError:
            return False
        return True

    def likeness(self, fields: Mapping[str, str]) -> float:
        """Common names as a part of all names (Jaccard), additions of our own apart."""
        present = fields.keys() - ADDITIONS
        return len(self.names & present) / len(self.names | present)


def _forms() -> Iterator[_Form]:
    for dialect in DIALECTS.values():
        for stream, forms in dialect.shown.items():
            yield from (_Form(dialect.name, stream, frozenset(names)) for names in forms)
        for stream, columns in dialect.documented:
            yield _Form(dialect.name, stream, frozenset(column.wire for column in columns))
    yield from (_Form(None, stream, frozenset(fields)) for stream, fields in REQUESTS.items())
    yield from (_Form(None, stream, frozenset(c.wire for c in columns)) for stream, columns in COMMON.items())


def _columns(dialect: Dialect, stream: str) -> Iterator[Column]:
    services = dialect.insights if stream == INSIGHTS and not dialect.combined else (None,)
    for service in services:
        yield from dialect.columns(stream, service)
