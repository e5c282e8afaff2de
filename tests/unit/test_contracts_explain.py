"""Pasted messages, what is said about them, and the generated documentation."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamapp.contracts
from streamapp.contracts import DIALECTS, INBOUND, OUTBOUND, write
from streamapp.contracts.docs import markdown
from streamapp.contracts.examples import REQUESTS, RESULTS
from streamapp.contracts.explain import explain, explain_text, parse
from streamapp.contracts.readers import READERS
from streamapp.contracts.streams import IMAGES, SYNC, UPDATES

# How long an example takes says something about the machine and its other work, nothing about the code.
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROOT = Path(__file__).parents[2]
FIELDS = {"postId": "90001", "mediaId": "70001", "mediaUrl": 'http://a/"é"\n', "uploaderId": "101"}

XREAD = r"""
1) 1) "post-image-processing"
   2) 1) 1) "1526999352406-0"
         2) 1) "postId"
            2) "90001"
            3) "mediaId"
            4) "70001"
            5) "mediaUrl"
            6) "http://a/\"\xc3\xa9\"\n"
            7) "uploaderId"
            8) "101"
      2) 1) "1526999352407-0"
         2) 1) "postId"
            2) ""
2) 1) "es-sync-queue"
   2) 1) 1) "1526999352408-0"
         2) 1) "indexType"
            2) "post_search"
"""
XRANGE_OF_TEN = """\
 1) 1) "1-0"
    2) 1) "a"
       2) "1"
""" + "".join(f'{i:2}) 1) "{i}-0"\n    2) 1) "a"\n       2) "{i}"\n' for i in range(2, 12))


def test_xread() -> None:
    assert parse(XREAD) == [
        (IMAGES, FIELDS),
        (IMAGES, {"postId": ""}),
        (SYNC, {"indexType": "post_search"}),
    ]


def test_xrange_with_aligned_numbers() -> None:
    assert parse(XRANGE_OF_TEN) == [(None, {"a": str(i)}) for i in range(1, 12)]


def test_bare_numbered_lines() -> None:
    assert parse('1) "postId"\n2) "5"\n3) "title"\n4) "a \\\\ b"\n') == [(None, {"postId": "5", "title": "a \\ b"})]


def test_raw_output() -> None:
    text = f"{IMAGES}\n1-0\npostId\n1\nmediaId\n2\n1-1\npostId\n3\n"
    assert parse(text) == [(IMAGES, {"postId": "1", "mediaId": "2"}), (IMAGES, {"postId": "3"})]


COMMANDS = r"""
redis-cli XADD post-image-processing MAXLEN '~' 10 '*' \
  postId 1 \
  mediaId 'a b'
xadd es-sync-queue 5-0 x y
"""


def test_commands() -> None:
    assert parse(COMMANDS) == [(IMAGES, {"postId": "1", "mediaId": "a b"}), (SYNC, {"x": "y"})]


def test_json() -> None:
    assert parse('{"postId": 90001, "allMediaIds": [1, 2], "x": null}') == [
        (None, {"postId": "90001", "allMediaIds": "[1, 2]", "x": "null"})
    ]
    assert parse(json.dumps([{"stream": SYNC, "fields": {"a": True}}, {"b": "c"}])) == [
        (SYNC, {"a": "true"}),
        (None, {"b": "c"}),
    ]


@pytest.mark.parametrize("text", ["", "hello", "{", "[1]", "1) ", '1) "a"', "xadd s postId 1", "[" * 100_000])
def test_no_message(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@STEADY
@given(st.text(st.sampled_from("1234) \"\\x{}[]:,-\n 'aXADD*"), max_size=200))
def test_parsing_any_text_ends_in_messages_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(value, str) for _, fields in parse(text) for value in fields.values())


def test_marks_nested_without_end() -> None:
    with pytest.raises(ValueError, match="nested"):
        parse("1) " * 50_000 + '"a"')


def test_an_accepted_message_is_explained_field_by_field() -> None:
    report = explain({**FIELDS, "mediaUrl": "http://a"}, stream=IMAGES)
    assert report.error is None
    assert set(report.dialects) == {"api-reference", "message-formats"}
    assert [(r.name, r.attribute, r.value) for r in report.readings] == [
        ("postId", "post_id", "90001"),
        ("mediaId", "media_id", "70001"),
        ("mediaUrl", "url", "http://a"),
        ("uploaderId", "user_id", "101"),
    ]


def test_every_pasted_message_is_explained() -> None:
    reports = explain_text(XREAD)
    assert [report.stream for report in reports] == [IMAGES, IMAGES, SYNC]
    assert all(report.stream_given for report in reports)
    assert [report.error is None for report in reports] == [True, False, False]


def test_aliases_and_ignored_fields_are_told() -> None:
    fields = {"postId": "1", "mediaId": '"2"', "imageUrl": "http://a", "timestamp": "yesterday", "colour": "x"}
    report = explain(fields, stream=IMAGES)
    assert [(r.name, r.attribute, r.value) for r in report.readings] == [
        ("postId", "post_id", "1"),
        ("mediaId", "media_id", "2"),
        ("imageUrl", "url", "http://a"),
    ]
    assert report.ignored == ("timestamp", "colour")
    assert report.record is not None
    assert report.record["media_id"] == "2"


def test_a_refusal_says_why_and_what_was_read_so_far() -> None:
    report = explain({"postId": "1", "mediaId": ""}, stream=IMAGES)
    assert report.record is None
    assert report.error == (
        "post-image-processing: mediaId: found nothing, "
        "accepted is text of 1 to 200 characters, not blank, no control characters"
    )
    assert [r.name for r in report.readings] == ["postId"]


def test_the_stream_is_guessed_from_the_fields() -> None:
    for stream, fields in REQUESTS.items():
        report = explain(fields)
        assert (report.stream, report.stream_given, report.error) == (stream, False, None)
    assert explain({"postId": "5", "title": "t"}).stream == UPDATES


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_dialect_writes_is_recognised_as_it(dialect: str) -> None:
    for result in RESULTS.values():
        for message in write(result, dialect=dialect):
            report = explain(message.fields, stream=message.stream)
            assert report.error is None
            assert report.record is not None
            assert dialect in report.dialects or report.dialects == ()
            assert not report.ignored


def test_a_message_like_nothing_known() -> None:
    report = explain({"x": "y"})
    assert report.dialects == ()
    assert report.likeness == 0
    assert report.error is not None
    assert explain({}).record is None


def test_the_committed_documentation_is_up_to_date() -> None:
    assert (ROOT / "docs" / "contracts.md").read_text() == markdown(), (
        "python -m streamapp.contracts.docs > docs/contracts.md"
    )


def test_the_documentation_has_every_stream_dialect_and_name() -> None:
    text = markdown()
    for word in (*INBOUND, *OUTBOUND, *DIALECTS):
        assert f"`{word}`" in text
    for reader in READERS.values():
        for name in (name for field in reader.fields for name in field.names):
            assert f"`{name}`" in text


def test_documented_requests_are_read_with_every_field_used() -> None:
    for stream, fields in REQUESTS.items():
        report = explain(fields, stream=stream)
        assert report.error is None
        assert report.ignored == ()


def test_the_package_knows_no_client() -> None:
    folder = Path(streamapp.contracts.__file__).parent
    for path in folder.rglob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                assert not any(client in line for client in ("faust", "redis", "kafka", "asyncpg", "aiohttp"))
