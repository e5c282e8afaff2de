"""Rows into documents and documents into bulk requests, without a server."""

from __future__ import annotations

import itertools
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pgvector import Vector

from streamapp.contracts import records
from streamapp.sinks.bulk import LARGEST_DOCUMENT_BYTES, REQUEST_BYTES, Entry, Operation, Verdict, requests, verdict
from streamapp.sinks.documents import COMPUTED, columns, document, encode, same, select
from streamapp.sinks.indices import INDICES, NEXT, Checked, Index

MEDIA_SEARCH, POST_SEARCH = "read_model_media_search", "read_model_post_search"
MEDIA = INDICES[MEDIA_SEARCH]
every_index = pytest.mark.parametrize("index", INDICES.values(), ids=[index.name for index in INDICES.values()])


@every_index
def test_every_document_fits_its_strict_mapping(index: Index) -> None:
    made = document(index, full_row(index))
    assert made.keys() == index.fields.keys()
    for field, definition in index.fields.items():
        if "properties" in definition:
            assert all(item.keys() == definition["properties"].keys() for item in made[field])


@every_index
def test_a_row_of_nothing_is_a_small_document(index: Index) -> None:
    empty = dict.fromkeys(columns(index)) | {index.key: 1}
    assert document(index, empty) == {index.key: 1} | {field: [] for field in COMPUTED if field in index.fields}


@every_index
def test_names_are_snake_case_and_the_key_is_among_them(index: Index) -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", field) for field in index.fields)
    assert index.key in index.fields


@every_index
def test_definitions_are_strict_and_pinned(index: Index) -> None:
    mappings = index.mappings()
    assert mappings["dynamic"] == "strict"
    assert index.settings()["gc_deletes"] == "24h"
    for name, field in mappings["properties"].items():
        if field["type"] == "dense_vector":
            assert (field["similarity"], field["index_options"]["type"]) == ("cosine", "int8_hnsw")
            assert field["dims"] == {"image_embedding": 512, "face_embedding": 1024}[name]


def test_a_fingerprint_knows_a_change() -> None:
    one = Index(name="n", table="t", key="k", fields={"k": {"type": "long"}})
    other = Index(name="n", table="t", key="k", fields={"k": {"type": "integer"}})
    assert one.fingerprint() != other.fingerprint()


def test_names_of_generations() -> None:
    assert (MEDIA.alias("p-"), MEDIA.alias("p-", NEXT)) == ("p-media_search", "p-media_search-next")
    for number in (1, 20):
        assert MEDIA.generation("p-", MEDIA.concrete("p-", number)) == number
    for other in ("media_search-v1", "p-media_search-v", "p-media_search-v1-copy", "p-post_search-v1"):
        assert MEDIA.generation("p-", other) is None


def test_every_index_type_of_the_wire_has_an_index() -> None:
    assert {index.name for index in INDICES.values()} == set(records.INDICES)


def test_what_differs_has_a_remedy() -> None:
    assert Checked(MEDIA, "media_search", "present").remedy is None
    assert Checked(MEDIA, "media_search", "differs").remedy == "run: streamapp rebuild media_search"
    assert Checked(MEDIA, "media_search", "missing").remedy == "run: streamapp migrate"


def test_documents_are_the_same_but_for_the_last_digits_of_a_vector() -> None:
    one = document(MEDIA, full_row(MEDIA))
    near = one | {"image_embedding": [1.000001] * 512}
    assert same(MEDIA, one, near)
    assert same(MEDIA, None, None)
    assert not same(MEDIA, one, None)
    assert not same(MEDIA, None, one)
    assert not same(MEDIA, one, one | {"image_embedding": [1.001] * 512})
    assert not same(MEDIA, one, one | {"image_embedding": [1.0] * 511})
    assert not same(MEDIA, one, one | {"reaction_count": 2})
    assert not same(MEDIA, one, {name: field for name, field in one.items() if name != "reaction_count"})


def test_detected_users_are_pairs() -> None:
    row = full_row(MEDIA) | {"detected_user_ids": [1, 2], "detected_usernames": ["ann"]}
    assert document(MEDIA, row)["detected_users"] == [{"user_id": 1, "username": "ann"}, {"user_id": 2}]


def test_a_vector_travels_with_its_bits() -> None:
    values = [0.1, 1 / 3, -2.5e-8] + [0.0] * 509
    sent = orjson.loads(encode(document(MEDIA, full_row(MEDIA) | {"image_embedding": Vector(values)})))
    assert Vector(sent["image_embedding"]) == Vector(values)
    assert sent["image_embedding"][0] == 0.1  # not 0.10000000149011612


def test_times_are_made_by_the_database() -> None:
    assert """to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""" in select(MEDIA)
    assert select(INDICES[POST_SEARCH]).endswith("WHERE post_id = ANY($1::bigint[])")


def operation(content: bytes | None) -> Operation:
    entry = Entry(table_name=MEDIA_SEARCH, pk=10, target="live", version=7, attempts=1)
    return Operation(entry=entry, index="p-media_search", document=content)


def test_lines_of_a_bulk_request() -> None:
    meta = {"_index": "p-media_search", "_id": "10", "version": 7, "version_type": "external"}
    assert [*map(orjson.loads, operation(b'{"media_id":10}').lines())] == [{"index": meta}, {"media_id": 10}]
    assert [*map(orjson.loads, operation(None).lines())] == [{"delete": meta}]


sizes = st.sampled_from([0, 100, REQUEST_BYTES // 2, REQUEST_BYTES, LARGEST_DOCUMENT_BYTES]) | st.integers(0, 10**6)


def size(lines: list[bytes]) -> int:
    return sum(len(line) + 1 for line in lines)


@given(st.lists(st.none() | sizes, max_size=8))
def test_requests_are_full_but_not_more(lengths: list[int | None]) -> None:
    operations = [operation(None if length is None else b"x" * length) for length in lengths]
    made = list(requests(operations))
    sendable = [o.lines() for o in operations if size(o.lines()) <= LARGEST_DOCUMENT_BYTES]
    assert [line for request in made if request for line in request] == [line for lines in sendable for line in lines]
    assert made.count(None) == len(operations) - len(sendable)
    assert all(size(request) <= REQUEST_BYTES or len(request) == 2 for request in made if request)
    for one, other in itertools.pairwise(made):
        assert not (one and other) or size(one) + size(other[:2]) > REQUEST_BYTES


def test_a_document_that_is_too_large_keeps_its_place() -> None:
    made = list(requests([operation(b"1"), operation(b"x" * LARGEST_DOCUMENT_BYTES), operation(None)]))
    assert [len(request) if request else None for request in made] == [2, None, 1]


@pytest.mark.parametrize(
    ("action", "status", "kind", "expected"),
    [
        ("index", 200, None, Verdict.DONE),
        ("index", 201, None, Verdict.DONE),
        ("delete", 200, None, Verdict.DONE),
        ("delete", 404, None, Verdict.DONE),
        ("index", 409, "version_conflict_engine_exception", Verdict.STALE),
        ("delete", 409, "version_conflict_engine_exception", Verdict.STALE),
        ("index", 400, "document_parsing_exception", Verdict.REJECTED),
        ("index", 400, "strict_dynamic_mapping_exception", Verdict.REJECTED),
        ("index", 400, "index_closed_exception", Verdict.LATER),
        ("delete", 400, "index_closed_exception", Verdict.LATER),
        ("index", 404, "index_not_found_exception", Verdict.LATER),
        ("delete", 404, "index_not_found_exception", Verdict.LATER),
        ("index", 403, "cluster_block_exception", Verdict.LATER),
        ("index", 429, "es_rejected_execution_exception", Verdict.LATER),
        ("index", 503, "unavailable_shards_exception", Verdict.LATER),
    ],
)
def test_verdicts(action: str, status: int, kind: str | None, expected: Verdict) -> None:
    error = {"type": kind, "reason": "why", "caused_by": {"reason": "field"}} if kind else None
    found, text = verdict({action: {"status": status} | ({"error": error} if error else {})})
    assert found is expected
    wanted = f"{status} {kind}: why (field)" if expected in (Verdict.LATER, Verdict.REJECTED) else ""
    assert text == wanted


def full_row(index: Index) -> dict[str, Any]:
    """A row with a value in every column that the documents need."""
    row: dict[str, Any] = dict.fromkeys(columns(index), 1)
    vectors = {name: field["dims"] for name, field in index.fields.items() if field["type"] == "dense_vector"}
    row |= {name: Vector([1.0] * dims) for name, dims in vectors.items()}
    row |= {"detected_user_ids": [1], "detected_usernames": ["ann"]}
    return {column: row[column] for column in columns(index)}
