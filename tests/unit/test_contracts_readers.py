"""Reading requests: every spelling in, opaque ids through, clear refusals, and nothing else whatever comes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamapp.contracts import (
    INBOUND,
    AggregationRequest,
    ContractError,
    ImageRequest,
    PostUpdate,
    ProfileRequest,
    SyncRequest,
    fields_of,
    ids,
    read,
)
from streamapp.contracts.examples import REQUESTS
from streamapp.contracts.readers import READERS
from streamapp.contracts.records import INDICES, Snapshot
from streamapp.contracts.streams import IMAGES, PROFILES, SYNC, TRIGGERS, UPDATES
from streamapp.contracts.values import BOOLEAN, COUNT, ID_LIMIT, LIST_LIMIT, TIME

# How long an example takes says something about the machine and its other work, nothing about the code.
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CLOCK = "1737504030000-0"
IMAGE = {"postId": "1", "mediaId": "2", "mediaUrl": "http://a/b.jpg"}
OPAQUE = ["007", "0", "550e8400-e29b-41d4-a716-446655440000", str(2**53 + 1), "12345", "true", "1e3", "[1]", "né"]


def image(**fields: str) -> ImageRequest:
    request = read(IMAGES, {**IMAGE, **fields}, CLOCK)
    assert isinstance(request, ImageRequest)
    return request


def trigger(**fields: str) -> AggregationRequest:
    request = read(TRIGGERS, {"postId": "1", **fields}, CLOCK)
    assert isinstance(request, AggregationRequest)
    return request


def update(**fields: str) -> PostUpdate:
    request = read(UPDATES, {"postId": "1", **fields}, CLOCK)
    assert isinstance(request, PostUpdate)
    return request


def sync(**fields: str) -> SyncRequest:
    request = read(SYNC, fields, CLOCK)
    assert isinstance(request, SyncRequest)
    return request


@pytest.mark.parametrize("text", OPAQUE)
def test_ids_stay_as_they_came(text: str) -> None:
    request = image(postId=text, mediaId=text, userId=text, jobId=text, correlationId=text)
    assert {request.post_id, request.media_id, request.user_id, request.job_id, request.correlation_id} == {text}


@pytest.mark.parametrize("text", [*OPAQUE, '{"a":1}', '"quoted"', "null", " ", "[]", "a\nb", "x" * 1000])
def test_correlation_id_is_never_changed(text: str) -> None:
    assert image(correlationId=text).correlation_id == text


def test_quotes_of_a_serialiser_are_taken_off_everything() -> None:
    quoted = {name: json.dumps(value) for name, value in {**IMAGE, "correlationId": "c"}.items()}
    request = read(IMAGES, {**quoted, "position": "3", "timestamp": "1737504030000"}, CLOCK)
    assert request == image(correlationId="c", position="3", timestamp="1737504030000")


def test_a_quoted_neighbour_alone_proves_no_serialiser() -> None:
    assert image(postId='"9"', correlationId='"c"').correlation_id == '"c"'
    assert trigger(correlationId='"c"', totalMedia="3").correlation_id == '"c"'


@pytest.mark.parametrize("text", ['"', '"abc', 'a"b"', '"a"b"'])
def test_a_value_that_is_no_json_string_keeps_its_quotes(text: str) -> None:
    assert image(postId=text).post_id == text


def test_correlation_id_falls_back_to_the_job_then_to_the_entry() -> None:
    assert image(jobId="job-1").correlation_id == "job-1"
    assert image(correlationId="", jobId="job-1").correlation_id == "job-1"
    assert image().correlation_id == f"{IMAGES}:{CLOCK}"


@pytest.mark.parametrize(("name", "value"), [("mediaUrl", "http://a"), ("imageUrl", "http://a")])
def test_aliases(name: str, value: str) -> None:
    request = read(IMAGES, {"postId": "1", "mediaId": "2", "uploaderId": "3", name: value}, CLOCK)
    assert request == ImageRequest(
        post_id="1", media_id="2", url=value, user_id="3", correlation_id=f"{IMAGES}:{CLOCK}"
    )


def test_an_empty_alias_makes_room_for_the_next() -> None:
    assert image(mediaUrl="", imageUrl="http://other").url == "http://other"
    assert image(uploaderId="null", userId="5").user_id == "5"


def test_profile() -> None:
    request = read(PROFILES, {"userId": "0", "imageUrl": " http://a ", "correlationId": "c"}, CLOCK)
    assert request == ProfileRequest(user_id="0", url="http://a", correlation_id="c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("201,202", ("201", "202")),
        (" 201 , 202, ", ("201", "202")),
        ("[201, 202]", ("201", "202")),
        ('["201","007"]', ("201", "007")),
        ('"[201]"', ("201",)),
        (f"[{2**53 + 1},{2**70}]", (str(2**53 + 1), str(2**70))),
        ("[1,1,2,1]", ("1", "2")),
        ("[]", ()),
        ("7", ("7",)),
    ],
)
def test_id_lists(text: str, expected: tuple[str, ...]) -> None:
    assert trigger(allMediaIds=text).media_ids == expected


@pytest.mark.parametrize(
    "text", ["[1", '["a"', "[[1]]", "[null]", "[true]", '[""]', "[NaN]", '[{"id":1}]', '["\\ud800"]', "[" * 100_000]
)
def test_broken_id_lists_are_refused(text: str) -> None:
    with pytest.raises(ContractError, match="allMediaIds"):
        trigger(allMediaIds=text)


def test_an_id_list_has_a_limit() -> None:
    assert len(trigger(allMediaIds=",".join(map(str, range(LIST_LIMIT)))).media_ids) == LIST_LIMIT
    with pytest.raises(ContractError, match="allMediaIds"):
        trigger(allMediaIds=",".join(map(str, range(LIST_LIMIT + 1))))


@pytest.mark.parametrize("verdict", [False, "false", "False", "FALSE", 0, "0", 0.0])
def test_unsafe_in_any_encoding_is_kept(verdict: Any) -> None:
    insights = json.dumps([{"mediaId": 7, "isSafe": verdict}, {"mediaId": "8", "isSafe": True}, {"mediaId": "9"}])
    assert trigger(mediaInsights=insights).insights == (
        Snapshot(media_id="7", is_safe=False),
        Snapshot(media_id="8", is_safe=True),
        Snapshot(media_id="9", is_safe=None),
    )


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"isSafe":false}]', '[{"mediaId":1,"isSafe":"maybe"}]', "nonsense"])
def test_a_broken_snapshot_is_refused_rather_than_taken_for_safe(text: str) -> None:
    with pytest.raises(ContractError, match="mediaInsights"):
        trigger(mediaInsights=text)


@pytest.mark.parametrize(
    "fields",
    [{"operation": "delete"}, {"status": "DELETED"}, {"deleted": "True"}, {"isDeleted": "1"}, {"eventType": "REMOVED"}],
)
def test_deletion_is_explicit(fields: dict[str, str]) -> None:
    assert update(**fields).deleted
    assert update(**fields, title="t").deleted


@pytest.mark.parametrize("fields", [{}, {"operation": "UPDATE"}, {"status": "ARCHIVED"}, {"deleted": "false"}])
def test_anything_else_is_an_update(fields: dict[str, str]) -> None:
    assert not update(**fields).deleted


def test_media_of_an_update_are_unchanged_unless_named() -> None:
    assert update().media_ids is None
    assert update(mediaIds="[]").media_ids == ()
    assert update(allMediaIds="1,2").media_ids == ("1", "2")


@pytest.mark.parametrize("index", INDICES)
def test_every_index_under_every_name(index: str) -> None:
    table = index.removesuffix("_index")
    for name in (index, index.upper(), f"read_model_{table}", f"{table}_read_model"):
        for field in ("indexType", "indexName", "tableName"):
            assert sync(**{field: name, "documentId": "0"}) == SyncRequest(
                index=index,  # type: ignore[arg-type]
                operation="index",
                document_id="0",
            )


def test_bulk_means_all_documents_of_a_post() -> None:
    request = sync(indexName="media_search_bulk", operation="INDEX", documentId="100")
    assert request == SyncRequest(index="media_search", operation="index", document_id="100", bulk=True)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("index", "index"), ("INSERT", "index"), ("UPDATE", "index"), ("DELETE", "delete"), ("delete", "delete")],
)
def test_operations(word: str, expected: str) -> None:
    assert sync(tableName="post_search", operation=word, recordId="1", data="{").operation == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"indexName": "posts", "documentId": "1"}, "indexName"),
        ({"indexName": "post_search_bulk", "documentId": "1"}, "indexName"),
        ({"documentId": "1"}, "indexType or indexName or tableName"),
        ({"indexType": "post_search"}, "documentId or recordId"),
        ({"indexType": "post_search", "documentId": "1", "operation": "truncate"}, "operation"),
    ],
)
def test_sync_refusals_name_the_field(fields: dict[str, str], field: str) -> None:
    with pytest.raises(ContractError) as caught:
        sync(**fields)
    assert caught.value.field == field
    assert caught.value.stream == SYNC


@pytest.mark.parametrize(
    "text", ["", " ", "null", "x" * (ID_LIMIT + 1), "a\x00b", "a\nb", "\x7f", "a\udcff", '"\\ud800"', '""']
)
def test_impossible_ids_are_refused(text: str) -> None:
    with pytest.raises(ContractError, match="postId"):
        image(postId=text)


def test_a_refusal_says_what_was_found_in_one_short_printable_line() -> None:
    with pytest.raises(ContractError) as caught:
        image(mediaId="\udcff\n" + "é" * 1_000_000)
    message = str(caught.value)
    assert message.startswith(f"{IMAGES}: mediaId: found '\\udcff\\n\u00e9")
    assert "(1000002 characters)" in message
    assert len(message) < 300
    assert message.encode().decode().isprintable()


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("12", 12), (" 3 ", 3), ("4.0", 4), ("2147483647", 2**31 - 1)]
)
def test_counts(text: str, expected: int) -> None:
    assert COUNT.read(text) == expected


@pytest.mark.parametrize("text", ["-1", "1.5", "1_000", "٣", "2147483648", "9" * 5000, "", "one", "NaN"])
def test_no_counts(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        COUNT.read(text)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1"])
def test_true(text: str) -> None:
    assert BOOLEAN.read(text) is True


@pytest.mark.parametrize("text", ["false", "False", "0"])
def test_false(text: str) -> None:
    assert BOOLEAN.read(text) is False


@pytest.mark.parametrize(
    "text",
    ["1737504030123", "2025-01-22T00:00:30.123Z", "2025-01-22T00:00:30.123456789Z", "2025-01-22T01:00:30.123+01:00"],
)
def test_times(text: str) -> None:
    assert TIME.read(text) == 1737504030123
    assert image(timestamp=text).sent_at == 1737504030123


@pytest.mark.parametrize("text", ["yesterday", "-5", "9" * 30, "0001-01-01T00:00:00+23:59", "[2025,1,22]"])
def test_an_unreadable_timestamp_hurts_nobody(text: str) -> None:
    assert image(timestamp=text).sent_at is None


@pytest.mark.parametrize("entry_id", ["", "1", "x-0", "-1-0", "1-0 ", "999999999999999-0", "1-" + "9" * 30, "٣-0"])
def test_an_entry_id_is_a_clock(entry_id: str) -> None:
    with pytest.raises(ContractError, match="entry id"):
        read(IMAGES, IMAGE, entry_id)


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(ContractError, match="post-image-processing"):
        read("other", IMAGE, CLOCK)


def test_fields_of_a_flat_object() -> None:
    raw = b'{"a":"b","n":90001,"big":9007199254740993,"yes":true,"no":null,"list":[1,"x"],"bad":"\\udcff"}'
    assert fields_of(IMAGES, raw) == {
        "a": "b",
        "n": "90001",
        "big": "9007199254740993",
        "yes": "true",
        "no": "null",
        "list": '[1, "x"]',
        "bad": "\udcff",
    }


@pytest.mark.parametrize(
    "raw",
    [None, b"", b"{", b"[]", b"1", b"\xff\xfe", b'{"a":NaN}', b'{"a":' + b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"],
)
def test_what_is_no_flat_object_is_refused(raw: bytes | None) -> None:
    with pytest.raises(ContractError, match="JSON object"):
        fields_of(IMAGES, raw)


def test_ids_of_a_broken_message() -> None:
    broken = {"postId": "007", "mediaId": "a\x00", "uploaderId": '"5"', "correlationId": "c", "mediaUrl": ""}
    assert ids(broken) == {"postId": "007", "userId": "5", "correlationId": "c"}
    assert ids({"url": "x"}) == {}


NAMES = st.sampled_from(
    sorted(
        {"postId", "mediaId", "mediaUrl", "imageUrl", "uploaderId", "userId", "position", "jobId", "correlationId"}
        | {"timestamp", "allMediaIds", "totalMedia", "mediaInsights", "mediaIds", "operation", "status", "deleted"}
        | {"indexType", "indexName", "tableName", "documentId", "recordId", "data", "title"}
    )
)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # surrogates and control characters too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
VALUES = ANY_TEXT | JSON.map(json.dumps) | st.sampled_from([*OPAQUE, "[", "{", "NaN", "9" * 5000, '"', "media_search"])


def outcome(stream: str, fields: dict[str, str], entry_id: str) -> Any:
    """The record or the refusal."""
    try:
        return read(stream, fields, entry_id)
    except ContractError as error:
        return error


def check(stream: str, fields: dict[str, str], entry_id: str) -> None:
    ids(fields)
    match outcome(stream, fields, entry_id):
        case ContractError() as error:
            assert error.stream == stream
            assert "\n" not in str(error)
            assert len(str(error)) < 1000
            assert str(error).encode()
        case record:  # whatever was read can be written as UTF-8 again
            assert msgspec.json.encode(record)


@STEADY
@given(st.sampled_from(INBOUND), st.dictionaries(NAMES | ANY_TEXT, VALUES, max_size=6), st.just(CLOCK) | ANY_TEXT)
def test_reading_is_total(stream: str, fields: dict[str, str], entry_id: str) -> None:
    check(stream, fields, entry_id)


@STEADY
@given(st.data())
def test_reading_is_total_close_to_a_good_message(data: st.DataObject) -> None:
    """Most random maps fail at the first field: break one field of a good message instead."""
    stream = data.draw(st.sampled_from(INBOUND))
    fields = {**REQUESTS[stream], data.draw(NAMES): data.draw(VALUES)}
    check(stream, fields, CLOCK)


@pytest.mark.parametrize("stream", INBOUND)
@pytest.mark.parametrize("unit", ["x", "1,", "[", '{"a":', '"', "\\", "\udcff", "\x00", "9", " "])
def test_a_megabyte_in_any_field_is_read_or_refused(stream: str, unit: str) -> None:
    huge = unit * (1_000_000 // len(unit))
    for reader_field in READERS[stream].fields:
        for name in reader_field.names:
            check(stream, {**REQUESTS[stream], name: huge}, CLOCK)
            check(stream, {**REQUESTS[stream], name: f'"{huge}"'}, CLOCK)


@STEADY
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_decoding_is_total(raw: bytes) -> None:
    with contextlib.suppress(ContractError):
        assert all(isinstance(value, str) for value in fields_of(IMAGES, raw).values())


@STEADY
@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=ID_LIMIT))
def test_any_writable_id_comes_through(text: str) -> None:
    if text.strip() and text != "null" and not (text[0] == '"' == text[-1]):
        assert image(postId=text, mediaId=text).post_id == text
        assert image(correlationId=text).correlation_id == text
