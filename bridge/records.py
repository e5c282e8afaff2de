"""What an entry, a record and a dead letter look like: pure conversions between Redis and Kafka."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from bridge.names import DEAD_LETTERS

#: Lua's `unpack` fails at about 8000 values, and a field takes two.
MAX_FIELDS = 1000
#: What remains of a dead letter that is too large itself: enough to see what it was.
KEPT_VALUE_BYTES = 32 * 1024
KEPT_KEY_BYTES = 1024
#: More than Kafka's batch header (61), a record's own lengths and timestamps (21), and a header's two lengths.
RECORD_OVERHEAD = 128
HEADER_OVERHEAD = 10

Headers = Sequence[tuple[str, bytes]]
T = TypeVar("T")


class Unusable(ValueError):
    """This record's value is not a flat JSON object of strings, so it cannot become a stream entry."""


class Record(NamedTuple):
    """A record to produce."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


def from_entry(*, stream: str, entry_id: bytes, fields: Mapping[bytes, bytes], key_fields: Sequence[str]) -> Record:
    """The record of a stream entry.

    The value is the entry as a JSON object in ASCII. A byte that is not UTF-8 becomes a lone surrogate
    (`surrogateescape`), so a reader gets every byte back by `json.loads(value)[field].encode("utf-8",
    "surrogateescape")`. The key is the bytes of the first of `key_fields` that is there and not empty, else
    None. The record's time is the time of producing: an old entry with its own time would be expired at once
    by the topic's retention.
    """
    key = next((fields[name] for name in map(str.encode, key_fields) if fields.get(name)), None)
    text = {_decode(name): _decode(value) for name, value in fields.items()}
    value = json.dumps(text, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return Record(stream, key, value, [("redis-stream", stream.encode()), ("redis-id", entry_id)])


def to_fields(value: bytes | None) -> list[bytes]:
    """Name, value, name, value … of the stream entry a record's value describes, in the object's order.

    Raises Unusable for anything but a JSON object of 1 to MAX_FIELDS strings. Lone surrogates become the bytes
    they came from, see `from_entry`.
    """
    try:
        document = json.loads(value or b"")
    except (ValueError, RecursionError):
        raise Unusable("the value is not JSON") from None
    if not isinstance(document, dict) or not all(isinstance(text, str) for text in document.values()):
        raise Unusable("the value is not a flat JSON object of strings")
    if not 1 <= len(document) <= MAX_FIELDS:
        raise Unusable(f"the value has {len(document)} fields, not 1 to {MAX_FIELDS}")
    try:
        return [text.encode("utf-8", "surrogateescape") for item in document.items() for text in item]
    except UnicodeEncodeError:
        raise Unusable("a text of the value cannot be encoded in UTF-8") from None


def size_of(record: Record) -> int:
    """Upper bound of the bytes the record takes in Kafka, alone in its batch."""
    headers = sum(len(name.encode()) + len(value) + HEADER_OVERHEAD for name, value in record.headers)
    return RECORD_OVERHEAD + len(record.key or b"") + len(record.value) + headers


def dead_letter(
    record: Record, *, origin: str, error: str, now: datetime, limit: int, topic: str = DEAD_LETTERS
) -> Record:
    """The dead letter of a record: its key, value and headers, and what happened to it.

    Added headers: `origin` (`redis:STREAM:ID` or `kafka:TOPIC:PARTITION:OFFSET`), `error` (one line), `time`
    (ISO 8601, UTC, milliseconds). Above `limit` bytes the value is cut to KEPT_VALUE_BYTES, the key to
    KEPT_KEY_BYTES, larger headers are left out, and the headers `length` and `sha256` (hex) tell what the whole
    value was.
    """
    time = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    added = [
        ("origin", origin.encode()),
        ("error", " ".join(error.split())[:1000].encode("utf-8", "replace")),
        ("time", time.encode()),
    ]
    letter = Record(topic, record.key, record.value, [*record.headers, *added])
    if size_of(letter) <= limit:
        return letter
    kept = [(name, value) for name, value in record.headers if len(name) + len(value) <= KEPT_KEY_BYTES][:20]
    whole = [("length", b"%d" % len(record.value)), ("sha256", hashlib.sha256(record.value).hexdigest().encode())]
    key = None if record.key is None else record.key[:KEPT_KEY_BYTES]
    return Record(topic, key, record.value[:KEPT_VALUE_BYTES], [*kept, *added, *whole])


def chunks(items: Sequence[T], sizes: Sequence[int], *, limit: int) -> Iterator[Sequence[T]]:
    """The items in order, in runs of at most `limit` bytes; one that is larger by itself is alone."""
    start = total = 0
    for index, size in enumerate(sizes):
        if total + size > limit and index > start:
            yield items[start:index]
            start, total = index, 0
        total += size
    if start < len(items):
        yield items[start:]


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
