"""Conversions between entries, records and dead letters."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from bridge.names import DEAD_LETTERS, INBOUND, OUTBOUND
from bridge.records import (
    KEPT_KEY_BYTES,
    KEPT_VALUE_BYTES,
    MAX_FIELDS,
    Record,
    Unusable,
    chunks,
    dead_letter,
    from_entry,
    size_of,
    to_fields,
)

ENTRIES = st.dictionaries(st.binary(max_size=20), st.binary(max_size=50), min_size=1, max_size=8)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


def entry_record(fields: dict[bytes, bytes], *key_fields: str) -> Record:
    return from_entry(stream="s", entry_id=b"1-0", fields=fields, key_fields=key_fields)


@given(ENTRIES)
def test_any_bytes_survive_the_way_in(fields: dict[bytes, bytes]) -> None:
    value = entry_record(fields).value
    assert value.isascii()
    back = {
        name.encode("utf-8", "surrogateescape"): text.encode("utf-8", "surrogateescape")
        for name, text in json.loads(value).items()
    }
    assert back == fields
    assert list(back) == list(fields)


@given(ENTRIES)
def test_in_and_out_again_is_the_same_entry(fields: dict[bytes, bytes]) -> None:
    flat = to_fields(entry_record(fields).value)
    assert flat == [part for item in fields.items() for part in item]


def test_readable_text_stays_readable() -> None:
    value = entry_record({b"title": "Stra\u00dfe am Meer".encode()}).value
    assert json.loads(value) == {"title": "Stra\u00dfe am Meer"}


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({b"documentId": b"d", b"recordId": b"r", b"postId": b"p"}, b"d"),
        ({b"postId": b"p", b"recordId": b"r"}, b"r"),
        ({b"documentId": b"", b"postId": b"p"}, b"p"),
        ({b"postid": b"p"}, None),
        ({b"postId": b""}, None),
        ({b"postId": b"007\xff"}, b"007\xff"),
    ],
)
def test_the_key_is_the_first_key_field_that_has_something(fields: dict[bytes, bytes], key: bytes | None) -> None:
    assert entry_record(fields, *INBOUND["es-sync-queue"]).key == key


def test_the_headers_say_where_the_record_comes_from() -> None:
    assert entry_record({b"a": b"b"}).headers == [("redis-stream", b"s"), ("redis-id", b"1-0")]


def test_no_stream_goes_both_ways() -> None:
    assert not set(INBOUND) & set(OUTBOUND)
    assert DEAD_LETTERS not in {*INBOUND, *OUTBOUND}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not JSON"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[]", "not a flat JSON object"),
        (b'"text"', "not a flat JSON object"),
        (b'{"a": 1}', "not a flat JSON object"),
        (b'{"a": null}', "not a flat JSON object"),
        (b'{"a": {"b": "c"}}', "not a flat JSON object"),
        (b"{}", "0 fields"),
        (json.dumps(dict.fromkeys(map(str, range(MAX_FIELDS + 1)), "")).encode(), "1001 fields"),
        (b'{"a": "\\ud800"}', "UTF-8"),
    ],
)
def test_what_cannot_be_an_entry_is_unusable(value: bytes | None, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        to_fields(value)


def test_the_order_of_the_fields_is_kept() -> None:
    assert to_fields(b'{"z": "1", "a": "2", "": ""}') == [b"z", b"1", b"a", b"2", b"", b""]


@given(
    st.none() | st.binary(max_size=300),
    st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=90)), max_size=5),
)
def test_the_size_is_never_less_than_what_the_client_reckons(
    key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]
) -> None:
    theirs = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
    assert theirs <= size_of(Record("t", key, value, headers)) <= theirs + 200


def letter(record: Record, *, limit: int = 10**6, error: str = "why") -> Record:
    return dead_letter(record, origin="redis:s:1-0", error=error, now=NOW, limit=limit)


def test_a_dead_letter_is_the_record_and_what_happened() -> None:
    record = Record("s", b"k", b"v", [("redis-id", b"1-0")])
    assert letter(record, error="first line\nsecond") == Record(
        "dead-letters",
        b"k",
        b"v",
        [
            ("redis-id", b"1-0"),
            ("origin", b"redis:s:1-0"),
            ("error", b"first line second"),
            ("time", b"2026-01-02T03:04:05.678Z"),
        ],
    )


def test_the_time_of_a_dead_letter_is_utc() -> None:
    zone = timezone(timedelta(hours=2))
    result = dead_letter(Record("s", None, b"v", []), origin="", error="", now=NOW.astimezone(zone), limit=10**6)
    assert dict(result.headers)["time"] == b"2026-01-02T03:04:05.678Z"


@given(
    key_size=st.integers(0, 200_000),
    value_size=st.integers(0, 200_000),
    headers=st.lists(st.integers(0, 100_000), max_size=30),
)
def test_a_dead_letter_always_fits(key_size: int, value_size: int, headers: list[int]) -> None:
    record = Record("s", b"k" * key_size, b"v" * value_size, [("h", b"h" * size) for size in headers])
    limit = 64 * 1024
    result = letter(record, limit=limit)
    assert size_of(result) <= limit
    assert record.value.startswith(result.value)
    found = dict(result.headers)
    assert found["origin"] == b"redis:s:1-0"
    if "length" in found:
        assert found["length"] == b"%d" % value_size
        assert found["sha256"] == hashlib.sha256(record.value).hexdigest().encode()
        assert len(result.value) <= KEPT_VALUE_BYTES
        assert len(result.key or b"") <= KEPT_KEY_BYTES
    else:
        assert result.value == record.value
        assert result.key == record.key


@given(st.lists(st.integers(0, 20)), st.integers(1, 20))
def test_chunks_are_all_items_in_order_and_as_large_as_may_be(sizes: list[int], limit: int) -> None:
    items = list(enumerate(sizes))
    found = list(chunks(items, sizes, limit=limit))
    assert [item for chunk in found for item in chunk] == items
    totals = [sum(size for _, size in chunk) for chunk in found]
    assert all(chunk for chunk in found)
    assert all(total <= limit or len(chunk) == 1 for total, chunk in zip(totals, found, strict=True))
    assert all(total + chunk[0][1] > limit for total, chunk in zip(totals, found[1:], strict=False))
