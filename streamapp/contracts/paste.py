"""Messages in pasted text: what redis-cli prints for XREAD and XRANGE, an XADD command, or JSON."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any, TypeAlias

from streamapp.contracts.streams import INBOUND, OUTBOUND
from streamapp.contracts.values import as_text, strict_json

Pasted: TypeAlias = tuple[str | None, dict[str, str]]  # stream if it was named, fields

_MARK = re.compile(r"\s*[0-9]+\) ?")
_ENTRY_ID = re.compile(r"[0-9]+-[0-9]+")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b"}


def parse(text: str) -> list[Pasted]:
    """The messages. Raises ValueError when there is none."""
    try:
        found = list(_messages(text))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not found:
        raise ValueError("no message found: paste redis-cli output, an XADD command, or JSON")
    return found


def _messages(text: str) -> Iterator[Pasted]:
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        return _json(strict_json(stripped))
    if _MARK.match(stripped):
        return _entries(_tree(text), None)
    if re.search(r"\bxadd\s", stripped, re.IGNORECASE):
        return _commands(stripped)
    return _plain([line.strip() for line in stripped.splitlines()])


def _json(content: Any) -> Iterator[Pasted]:
    for item in content if isinstance(content, list) else [content]:
        if not isinstance(item, dict):
            raise ValueError("a message is a JSON object")
        stream, inner = item.get("stream"), item.get("fields")
        if isinstance(stream, str) and isinstance(inner, dict):
            yield stream, _flat(inner)
        else:
            yield None, _flat(item)


def _flat(item: dict[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in item.items()}


def _commands(text: str) -> Iterator[Pasted]:
    """`XADD stream [options] id field value …`, lines continued with a backslash."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        start = next((i for i, word in enumerate(words) if word.lower() == "xadd"), None)
        if start is None:
            continue
        rest = words[start + 2 :]
        at = next((i for i, word in enumerate(rest) if word == "*" or _ENTRY_ID.fullmatch(word)), None)
        if at is None:
            raise ValueError("an XADD command without an entry id or *")
        yield words[start + 1], _pairs(rest[at + 1 :])


def _plain(lines: list[str]) -> Iterator[Pasted]:
    """redis-cli into a pipe prints one value a line: [stream] id, names and values; the ids are the anchors."""
    stream: str | None = None
    starts = [i for i, line in enumerate(lines) if _ENTRY_ID.fullmatch(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if start and lines[start - 1] in (*INBOUND, *OUTBOUND):
            stream = lines[start - 1]
        values = lines[start + 1 : end]
        yield stream, _pairs(values[: len(values) - len(values) % 2])


def _tree(text: str) -> list[Any]:
    """Nested lists: redis-cli aligns the marks `1) ` of a list in one column, and those inside further right."""
    root: list[Any] = []
    open_lists: list[tuple[int, list[Any]]] = [(-1, root)]
    for line in text.splitlines():
        position = 0
        while mark := _MARK.match(line, position):
            column = mark.end()
            while open_lists[-1][0] >= column:
                open_lists.pop()
            position = column
            item: list[Any] = []
            open_lists[-1][1].append(item)
            open_lists.append((column, item))
        if value := line[position:].strip():
            open_lists[-1][1].append(_scalar(value))
    return [_collapse(item) for item in root]


def _collapse(item: Any) -> Any:
    """A mark that holds a scalar is the scalar."""
    if not isinstance(item, list):
        return item
    if len(item) == 1 and isinstance(item[0], str):
        return item[0]
    return [_collapse(each) for each in item]


def _scalar(text: str) -> str:
    if not (len(text) > 1 and text[0] == '"' == text[-1]):
        return text
    # redis-cli writes bytes that are not printable ASCII as \xHH: put them together before decoding.
    return re.sub(
        r"(?:\\x[0-9a-fA-F]{2})+|\\(.)",
        lambda m: (
            _ESCAPES.get(m[1], m[1])
            if m[1]
            else bytes.fromhex(m[0].replace("\\x", "")).decode(errors="surrogateescape")
        ),
        text[1:-1],
    )


def _entries(items: list[Any], stream: str | None) -> Iterator[Pasted]:
    """The entries in a tree, whatever is around them: [stream, [[id, [name, value, …]], …]], or a bare list."""
    if items and all(isinstance(item, str) for item in items):
        yield stream, _pairs(items)
        return
    for item in items:
        match item:
            case [str(entry_id), [*values]] if _ENTRY_ID.fullmatch(entry_id):
                yield stream, _pairs(values)
            case [str(name), [*entries]]:
                yield from _entries(entries, name)
            case [*nested]:
                yield from _entries(nested, stream)


def _pairs(values: list[Any]) -> dict[str, str]:
    if len(values) % 2 or not all(isinstance(value, str) for value in values):
        raise ValueError("an entry is names and values in turn")
    return dict(zip(values[::2], values[1::2], strict=True))
