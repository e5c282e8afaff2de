"""An inbound entry: decoding it, finding its fields under any of their names, noting what was taken for what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from streamapp.contracts.errors import ContractError, shorten
from streamapp.contracts.values import CORRELATION, ENTRY_ID, ID, Type, as_text, is_quoted, strict_json, unquote

T = TypeVar("T")

CORRELATION_ID = "correlationId"
_JSON_LITERAL = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null|[\[{].*", re.ASCII | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Field(Generic[T]):
    """A value of a record: `names` are its names on the wire, the first one given with a value counts."""

    attribute: str
    names: tuple[str, ...]
    type: Type[T]
    required: bool = False
    lenient: bool = False  # unreadable is as good as absent, because nothing depends on it
    about: str = ""


@dataclass(frozen=True)
class Taken:
    """A field of the entry that was read: under which name it came, as what, and the value."""

    name: str
    attribute: str
    value: Any


def fields_of(stream: str, raw: bytes | None) -> dict[str, str]:
    """The flat map in a JSON object; values that are not text become their JSON. Raises ContractError."""
    try:
        content = strict_json((raw or b"").decode())
        if isinstance(content, dict):
            return {name: as_text(value) for name, value in content.items()}
    except ValueError:
        pass
    shown = shorten((raw or b"")[:200].decode(errors="backslashreplace"))
    raise ContractError(stream, "the whole message", shown, "a JSON object")


def ids(fields: Mapping[str, str]) -> dict[str, str]:
    """The readable ids of a message that may be broken, under their canonical wire names."""
    entry = Entry("", fields, "")
    wanted = (
        ("postId", ("postId",), ID),
        ("mediaId", ("mediaId",), ID),
        ("userId", ("userId", "uploaderId"), ID),
        ("jobId", ("jobId",), CORRELATION),
        (CORRELATION_ID, (CORRELATION_ID,), CORRELATION),
    )
    found = {}
    for wire, names, type_ in wanted:
        value = entry.optional(Field(attribute=wire, names=names, type=type_, lenient=True))
        if value is not None:
            found[wire] = value
    return found


def derived_correlation_id(stream: str, entry_id: str) -> str:
    """The correlation id of a message that came without one."""
    return f"{stream}:{entry_id}"


class Entry:
    """One entry of a stream while it is read."""

    def __init__(self, stream: str, fields: Mapping[str, str], entry_id: str) -> None:
        self.stream = stream
        self.fields = fields
        self.entry_id = entry_id
        self.taken: list[Taken] = []

    def check_id(self) -> None:
        """The entry id is the clock of the request. Raises ContractError when it is none."""
        self._read("entry id", self.entry_id, ENTRY_ID)

    def required(self, field: Field[T]) -> T:
        """The value. Raises ContractError when it is absent or unreadable."""
        value = self.optional(field)
        if value is None:
            raise ContractError(self.stream, " or ".join(field.names), "nothing", field.type.accepted)
        return value

    def optional(self, field: Field[T]) -> T | None:
        """The value, or None when it is absent. Raises ContractError when it is unreadable, unless lenient."""
        for name in field.names:
            try:
                if (text := self._text(name)) is None:
                    continue
                value = self._read(name, text, field.type)
            except ContractError:
                if not field.lenient:
                    raise
                continue
            self.taken.append(Taken(name, field.attribute, value))
            return value
        return None

    def correlation_id(self, field: Field[str]) -> str:
        """The correlation id of the backend, or one that follows from the place of the entry."""
        return self.optional(field) or derived_correlation_id(self.stream, self.entry_id)

    def values(self, fields: tuple[Field[Any], ...]) -> dict[str, Any]:
        """All values by attribute; the absent ones are left out, so that the record's defaults hold."""
        found = {field.attribute: (self.required if field.required else self.optional)(field) for field in fields}
        return {attribute: value for attribute, value in found.items() if value is not None}

    def _read(self, name: str, text: str, type_: Type[T]) -> T:
        try:
            return type_.read(text)
        except ValueError:
            raise ContractError(self.stream, name, shorten(text), type_.accepted) from None

    def _text(self, name: str) -> str | None:
        """The text of a field. Empty is absent, and so is a bare `null`, a serialised or printed nothing."""
        text = self.fields.get(name)
        if text is None or text == "":
            return None
        if not isinstance(text, str):
            raise ContractError(self.stream, name, shorten(repr(text)), "text")
        if name == CORRELATION_ID:
            return unquote(text) if is_quoted(text) and self._serialised else text
        return None if text == "null" else unquote(text) or None

    @cached_property
    def _serialised(self) -> bool:
        """Whether the sender wrote every value as JSON: all others are JSON, and at least one is a quoted string.

        A correlation id is never changed, so one that only looks like JSON must stay as it is. It is unquoted only
        where its neighbours prove that the quotes are the serialiser's; a serialiser writes numbers bare.
        """
        others = [text for name, text in self.fields.items() if name != CORRELATION_ID and text]
        return any(map(is_quoted, others)) and all(is_quoted(text) or _JSON_LITERAL.fullmatch(text) for text in others)
