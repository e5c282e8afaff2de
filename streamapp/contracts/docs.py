"""The documentation of the wire, made of the code that reads and writes it: `docs/contracts.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

from streamapp.contracts.columns import Column
from streamapp.contracts.dialect import ADDITIONS, Dialect
from streamapp.contracts.dialects import DEFAULT, DIALECTS
from streamapp.contracts.examples import REQUESTS, RESULTS
from streamapp.contracts.readers import READERS, Reader
from streamapp.contracts.results import write
from streamapp.contracts.streams import INBOUND, INSIGHTS, OUTBOUND

_INTRODUCTION = """\
# The wire

<!-- Generated from streamapp/contracts by `python -m streamapp.contracts.docs`. Do not edit. -->

Every message is a flat map of strings. Reading is tolerant and does not depend on a setting: any field may come under
any of its names, the first one with a value counts. Empty and `null` are absent. A value may itself be a JSON string
literal, as serialising templates write it. Unknown fields are passed over. A message that still cannot be read is kept
among the dead letters, answered on `ml-error-results` where an id can be found in it, and hurts no other.

Ids are opaque: `007`, `0`, a uuid and a number beyond 64 bits come back as they came. `correlationId` is never
changed, also when it looks like a number or like JSON; its quotes are taken off only when every other value of the
entry is JSON too and one of them a quoted string, that is, when the sender serialises everything.

Writing is strict, in the form that `STREAMAPP_DIALECT` names. Every value is a string: booleans `true` and `false`,
numbers in plain decimal, all else JSON. `correlationId`, and `userId` and `jobId` if the request had them, are carried
to every result. `revision`, `resultId`, `model`, `completeness` and `missing` are additions of ours; `missing` is a
JSON array of {mediaId, service, reason}. Two messages with one `resultId` say the same."""


def markdown() -> str:
    """The whole text."""
    parts = [_INTRODUCTION, "## Dialects", _table(("dialect", "form"), _dialect_rows())]
    parts.append("## Requests: from the backend")
    for stream in INBOUND:
        reader = READERS[stream]
        header = ("names", "required", "accepted", "notes")
        parts += [f"### `{stream}`", reader.about, _table(header, _field_rows(reader))]
        parts += [_example(REQUESTS[stream])]
    parts.append("## Results: to the backend")
    for stream in OUTBOUND:
        parts += [f"### `{stream}`", _table(("field", *DIALECTS), _column_rows(stream))]
        parts += [note for dialect in DIALECTS.values() for note in _objects(dialect, stream)]
        parts += list(_written(stream))
    return "\n\n".join(parts) + "\n"


def _dialect_rows() -> Iterator[tuple[str, ...]]:
    for dialect in DIALECTS.values():
        default = " The default." if dialect.name == DEFAULT else ""
        yield f"`{dialect.name}`", dialect.about + default


def _field_rows(reader: Reader) -> Iterator[tuple[str, ...]]:
    for field in reader.fields:
        names = ", ".join(f"`{name}`" for name in field.names)
        yield names, "yes" if field.required else "", field.type.accepted, field.about


def _column_rows(stream: str) -> Iterator[tuple[str, ...]]:
    found = {
        dialect.name: {column.wire: column for column in _columns(dialect, stream)} for dialect in DIALECTS.values()
    }
    for wire in dict.fromkeys(wire for columns in found.values() for wire in columns):
        yield f"`{wire}`", *(_cell(columns.get(wire)) for columns in found.values())


def _columns(dialect: Dialect, stream: str) -> list[Column]:
    """The columns, in a stream with one message per service those of all of them."""
    if stream != INSIGHTS or dialect.combined:
        return list(dialect.columns(stream))
    return [column for service in dialect.insights for column in dialect.columns(stream, service)]


def _cell(column: Column | None) -> str:
    if column is None:
        return ""
    about, _, inside = column.kind.about.partition(" {")
    inside = "" if column.wire in ADDITIONS else inside
    about = about.removesuffix(" of") + " (below)" if inside else about
    return f"{about}, if known" if column.optional else about


def _objects(dialect: Dialect, stream: str) -> Iterator[str]:
    """What is inside the JSON of this dialect's columns."""
    seen = dict.fromkeys(
        f"- {dialect.name}, `{column.wire}`: {column.kind.about}"
        for column in _columns(dialect, stream)
        if "{" in column.kind.about and column.wire not in ADDITIONS
    )
    if seen:
        yield "\n".join(seen)


def _written(stream: str) -> Iterator[str]:
    """An example per dialect, once where they agree."""
    samples: dict[str, list[str]] = {}
    for dialect in DIALECTS:
        messages = [m for result in RESULTS.values() for m in write(result, dialect=dialect) if m.stream == stream]
        if messages:
            samples.setdefault(_example(messages[0].fields), []).append(dialect)
    for sample, dialects in samples.items():
        yield f"{', '.join(dialects)}:\n\n{sample}"


def _example(fields: dict[str, str]) -> str:
    return f"```json\n{json.dumps(fields, indent=2, ensure_ascii=False)}\n```"


def _table(header: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    head = tuple(header)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(markdown())
