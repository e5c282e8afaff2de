"""Comparing what was given out with the state: nothing is found where all is as it was written, and each thing that
is not. The rows and streams are in memory."""

from __future__ import annotations

import datetime as dt
from random import Random
from typing import Any

import pytest
from given_out import GivenOut
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from world import START, answered, failed, recheck, recognised, registered, ticked, triggered

from streamapp.contracts import DIALECTS
from streamapp.contracts.streams import ENRICHED, ERRORS, FACES, INSIGHTS
from streamapp.events import Event, Updated
from streamapp.insights import FaceDetection
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    RECOMMENDATIONS,
)
from streamapp.verify.rows import OF_DELETED_USER


def updated(clock: int, *media_ids: str, deleted: bool = False, text: bool = False) -> Updated:
    named = None if text or deleted else media_ids
    return Updated(post_id="100", clock=f"{clock}-0", at=START, correlation_id="u", media_ids=named, deleted=deleted)


MEDIA = ("2001", "2002", "2003")


def anything(random: Random, out: GivenOut, clock: int) -> Event:
    """The next fact of a post: of the backend, of an engine, or of time."""
    media_id = random.choice(MEDIA)
    tasks = [task for task in out.world.tasks if random.random() < 0.5]
    match random.randrange(12):
        case 0 | 1:
            return registered(media_id, clock=clock, position=random.choice((None, int(media_id))))
        case 2:
            return triggered(*random.sample(MEDIA, random.randrange(1, 4)), clock=clock)
        case 3:
            return triggered(clock=clock, total=random.randrange(4))
        case 4:
            return updated(clock, *random.sample(MEDIA, random.randrange(4)))
        case 5:
            return updated(clock, deleted=random.random() < 0.4, text=True)
        case 6:
            return ticked(clock * random.choice((1, 10)))
        case 7 | 8:
            return of_faces(random, out, media_id)
        case _ if tasks:
            task, at = random.choice(tasks), START + clock
            if random.random() < 0.3:
                return failed(task, at=at, permanent=random.random() < 0.5)
            return answered(task, at=at)
    return ticked(clock)


def of_faces(random: Random, out: GivenOut, media_id: str) -> Event:
    """Faces were compared with the known ones, or are to be."""
    if not out.world.comparisons or random.random() < 0.3:
        return recheck(media_id, random.randrange(1, 9))
    comparison = random.choice(out.world.comparisons)
    people = [random.choice((None, "7", "8", "9", "no number")) for _ in comparison.faces]
    return recognised(comparison, *people, known=random.randrange(1, 9), cosine=random.choice((0.9, 0.75)))


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
async def test_nothing_is_found_after_any_fact(dialect: str, seed: int) -> None:
    out, random = GivenOut(dialect), Random(seed)
    for clock in range(1, 40):
        out.tell(anything(random, out, clock))
        assert (await out.verified()).differences == []


def complete(dialect: str = "api-reference") -> GivenOut:
    """A complete post of two media and a third that failed for good."""
    out = GivenOut(dialect)
    out.tell(*(registered(each, clock=n) for n, each in enumerate(("2001", "2002", "2003"), 1)))
    out.tell(triggered("2001", "2002", "2003"))
    for task in list(out.world.tasks):
        out.tell(failed(task, permanent=True) if task.media_id == "2003" else answered(task))
    return out


async def lines(out: GivenOut, **more: Any) -> list[str]:
    return sorted(each.line() for each in (await out.verified(**more)).differences)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_how_much_was_compared(dialect: str) -> None:
    findings = await complete(dialect).verified()
    assert findings.differences == []
    per_media = {"api-reference": 6, "message-formats": 5}.get(dialect, 2)
    combined_of_failed = per_media == 2
    assert findings.compared == {"rows": 1 + 2 * 3 + 2 + 2, "results": 2 * per_media + 6 + combined_of_failed + 1}


async def test_a_changed_column_is_named_with_both_values() -> None:
    out = complete()
    out.rows[MEDIA_SEARCH, 2001]["ai_tags"] = ["planted"]
    out.rows[POST_SEARCH, 100]["has_unsafe_media"] = None
    assert await lines(out) == [
        f"post 100 media 2001 row {MEDIA_SEARCH}.ai_tags: state has ['beach', 'tag-6'], row has ['planted']",
        f"post 100 row {POST_SEARCH}.has_unsafe_media: state has False, row has None",
    ]


@pytest.mark.parametrize("by", [-1, 1])
async def test_the_row_of_a_settled_post_has_its_revision(by: int) -> None:
    out = complete()
    out.rows[POST_SEARCH, 100]["revision"] += by
    (line,) = await lines(out)
    assert line.startswith(f"post 100 row {POST_SEARCH}.revision: state has ")


@pytest.mark.parametrize(("revision", "good"), [(0, False), (1, True), (1000, False)])
async def test_the_row_of_a_media_may_be_older_but_is_ours(revision: int, good: bool) -> None:
    out = complete()
    out.rows[MEDIA_SEARCH, 2002]["revision"] = revision
    assert bool(await lines(out)) is not good


async def test_rows_that_are_not_there_or_should_not_be() -> None:
    out = complete()
    out.rows[MEDIA_SEARCH, 2004] = out.rows.pop((MEDIA_SEARCH, 2002)) | {"media_id": 2004}
    revision = out.world.post.revision if out.world.post else 0
    missing, extra = await lines(out)
    assert missing == f"post 100 media 2002 row {MEDIA_SEARCH}: missing, revision {revision}"
    assert extra.startswith(f"post 100 media 2004 row {MEDIA_SEARCH}: should not be there: the post has no such media")


async def test_each_row_of_a_media_is_compared() -> None:
    out = complete()
    detected, found = ((table, key) for table, key in out.rows if table in (DETECTED_FACES, FACE_SEARCH))
    assert detected[1] == found[1]
    out.rows[detected]["bbox"] = (1, 2, 3, 4)
    out.rows[FACE_SEARCH, "stale"] = out.rows.pop(found) | {"face_id": "stale"}
    del out.rows[RECOMMENDATIONS, 2001]
    out.rows[RECOMMENDATIONS, 2003] = out.rows[RECOMMENDATIONS, 2002] | {"media_id": 2003, "revision": 2}
    out.rows[MEDIA_INSIGHTS, 2002]["status"] = "FAILED"
    revision = out.world.post.revision if out.world.post else 0
    assert await lines(out) == sorted(
        [
            f"post 100 media 2002 row {DETECTED_FACES} {found[1]}.bbox: state has (0, 0, 10, 10), row has (1, 2, 3, 4)",
            f"post 100 media 2002 row {FACE_SEARCH} {found[1]}: missing, revision {revision}",
            f"post 100 media 2002 row {FACE_SEARCH} stale: should not be there: the media has no such row "
            f"(revision {out.rows[FACE_SEARCH, 'stale']['revision']})",
            f"post 100 media 2001 row {RECOMMENDATIONS}: missing, revision {revision}",
            f"post 100 media 2003 row {RECOMMENDATIONS}: should not be there: the media has no such row (revision 2)",
            f"post 100 media 2002 row {MEDIA_INSIGHTS}.status: state has 'COMPLETED', row has 'FAILED'",
        ]
    )


async def test_a_face_without_a_usable_vector_is_told_apart() -> None:
    out = complete()
    row = out.world.media["2002"]
    detail = row.detail("face_detection")
    assert isinstance(detail.insight, FaceDetection)
    faces = tuple(replace(each, embedding=b"") for each in detail.insight.faces)
    bare = replace(detail, insight=replace(detail.insight, faces=faces))
    out.world.media["2002"] = replace(row, details=row.details | {"face_detection": bare})
    for key in [key for key in out.rows if key[0] in (DETECTED_FACES, FACE_SEARCH)]:
        del out.rows[key]
    assert (await out.verified()).told == {"faces without a row": 1}


async def test_what_left_is_gone() -> None:
    out = complete()
    row = dict(out.rows[MEDIA_SEARCH, 2002])
    out.tell(updated(60, "2001"))
    assert await lines(out) == []
    out.rows[MEDIA_SEARCH, 2002] = row
    (line,) = await lines(out)
    assert "should not be there: the media left the post" in line
    out.tell(updated(70, deleted=True))
    assert await lines(out) == []
    out.rows[MEDIA_SEARCH, 2002] = row
    (line,) = await lines(out)
    assert "should not be there: the post was deleted" in line
    out.world.post = None
    (line,) = await lines(out)
    assert "should not be there: no state knows the post" in line


def waiting(revision: int, refused: str | None = None) -> dict[str, Any]:
    then = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    return {"awaited": "users", "revision": revision, "refused": refused, "next_attempt": then}


async def test_rows_that_wait_for_the_backend() -> None:
    out = complete()
    out.rows.clear()
    out.backend["post"] = out.backend["post"] | {"username": None}
    assert [line.partition(": ")[2] for line in await lines(out)] == [
        "missing, the backend's users lacks a row, and nothing awaits it"
    ] * 4
    revision = out.world.post.revision if out.world.post else 0
    all_four = {(POST_SEARCH, 100, 100): waiting(revision)}
    all_four |= {(MEDIA_SEARCH, n, 100): waiting(1) for n in (2001, 2002, 2003)}
    findings = await out.verified(awaiting=all_four)
    assert (findings.differences, findings.told) == ([], {"rows that await the backend's users": 4})
    (line,) = await lines(out, awaiting=all_four | {(POST_SEARCH, 100, 100): waiting(revision - 1)})
    assert line == f"post 100 awaiting {POST_SEARCH}.revision: state has {revision}, awaiting has {revision - 1}"

    out.backend["post"] = out.backend["post"] | {"username": "ann"}
    assert all("pending: it awaited users" in line for line in await lines(out, awaiting=all_four))
    refused = {key: waiting(1, refused="too wide") for key in all_four}
    findings = await out.verified(awaiting=refused)
    assert (findings.differences, findings.told) == ([], {"rows refused": 4})


@pytest.mark.parametrize(
    ("table", "row", "gone"),
    [
        ("posts", "post", {"user_id": None, "username": None}),
        ("users", "post", {"username": None}),
        ("users", "post", {"deleted": OF_DELETED_USER}),
        ("post_media", "media", {"post_id": None}),
    ],
    ids=str,
)
async def test_rows_go_with_the_backends(table: str, row: str, gone: dict[str, Any]) -> None:
    out = complete()
    of_post = row == "post"
    rows = len(out.rows) if of_post else len(out.rows) - 1
    out.backend[row] = out.backend[row] | gone
    found = await lines(out)
    assert len(found) == rows
    assert all(f"should not be there: the backend's row of {table} is gone (revision " in line for line in found)
    out.rows = {key: row for key, row in out.rows.items() if not of_post and key[0] == POST_SEARCH}
    out.backend[row] = out.backend[row] | {"deleted": out.backend[row]["deleted"] or 1000}
    findings = await out.verified()
    told = {f"rows that went with the backend's {table}": 4 if of_post else 3}
    assert (findings.differences, findings.told) == ([], told)


async def test_a_row_that_counts_as_deleted_is_missing_where_the_backend_has_it() -> None:
    out = complete()
    out.rows.clear()
    out.backend["post"] = out.backend["post"] | {"deleted": 1000}
    assert {line.partition(": ")[2] for line in await lines(out)} == {"missing, it counts as deleted"}


async def test_what_does_not_fit_is_told_and_is_no_difference() -> None:
    out = complete()
    out.backend["media"] = out.backend["media"] | {"thumbnail_url": "u" * 1001, "width": 2**31}
    for row in out.rows.values():
        row |= {"thumbnail_url": "u" * 1000} if "thumbnail_url" in row else {}
        row |= {"width": None} if "width" in row else {}
    findings = await out.verified()
    recommended = sum("thumbnail_url" in row for row in out.rows.values()) - 3
    assert (findings.differences, findings.told) == ([], {"values that do not fit": 3 * 2 + recommended})


async def test_what_another_post_awaits_of_a_media_is_its_own() -> None:
    out = complete()
    others = {(MEDIA_SEARCH, n, 99): waiting(10**6, refused="not of 99") for n in (2001, 2002, 2003)}
    findings = await out.verified(awaiting=others)
    assert (findings.differences, findings.told) == ([], {})


async def test_a_media_of_another_post_is_refused() -> None:
    out = complete()
    out.backend["media"] = out.backend["media"] | {"post_id": 99}
    findings = await out.verified()
    assert (findings.differences, findings.told) == ([], {"rows refused": 3})


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_each_result_that_is_gone_is_named(dialect: str) -> None:
    out = complete(dialect)
    whole, gone = out.streams, set[str]()
    for place, fields in whole.kept.items():
        out.streams = whole.without(place)
        found = (await out.verified()).differences
        if place[0] == INSIGHTS and len(found) == 0:
            continue  # a combined message that a later one made old
        (difference,) = found
        assert (difference.kind, difference.where) == ("missing", f"result {place[0]}")
        assert difference.expected == fields["resultId"]
        gone.add(place[0])
    assert gone == {INSIGHTS, FACES, ERRORS, ENRICHED}


@pytest.mark.parametrize("stream", [INSIGHTS, FACES, ERRORS, ENRICHED])
async def test_results_that_are_doubled_changed_or_unreadable(stream: str) -> None:
    out = complete()
    place, fields = next((place, fields) for place, fields in out.streams.kept.items() if place[0] == stream)
    whole = out.streams
    out.streams = whole.without()
    out.streams.put(stream, fields)
    (line,) = await lines(out)
    assert line.endswith(f"result {stream}: is there 2 times")

    out.streams = whole.without(place)
    out.streams.put(stream, fields | {"correlationId": "planted"})
    (line,) = await lines(out)
    assert f"result {stream}.correlation_id: state has 'c-" in line
    assert line.endswith("result has 'planted'")

    if stream != ERRORS:  # its fields are all texts
        name = {INSIGHTS: "isSafe", FACES: "faces", ENRICHED: "allAiTags"}[stream]
        out.streams = whole.without(*(p for p, f in whole.kept.items() if name in f and p[0] == stream))
        for broken in [f for p, f in whole.kept.items() if name in f and p[0] == stream]:
            out.streams.put(stream, broken | {name: "{"})
        assert all(f"result {stream}.{name}: " in line for line in await lines(out))
        assert await lines(out)


async def test_the_last_aggregate_is_the_last() -> None:
    out = complete()
    first = next(fields for (stream, _), fields in out.streams.kept.items() if stream == ENRICHED)
    out.tell(triggered("2001", "2002", "2003", clock=80))
    assert await lines(out) == []
    out.streams = out.streams.without()
    out.streams.put(ENRICHED, first | {"resultId": first["resultId"] + "9"})
    found = {difference.field for difference in (await out.verified()).differences}
    assert "result_id" in found
    assert "revision" in found


async def test_what_was_cut_off_a_stream_is_told_apart() -> None:
    out = complete()
    for stream in (INSIGHTS, FACES, ERRORS, ENRICHED):
        out.streams = out.streams.without(*(place for place in out.streams.kept if place[0] == stream))
    assert len(await lines(out)) == 19
    out.streams._first = {INSIGHTS: START + 1001, FACES: START + 1001, ERRORS: START + 1001, ENRICHED: START + 1001}
    findings = await out.verified()
    assert findings.differences == []
    assert sum(findings.told.values()) == 19
    out.streams._first = {INSIGHTS: START + 1000}  # in this millisecond it may still be there
    assert len(await lines(out)) == 19


async def test_the_two_tables_of_the_state_agree() -> None:
    out = complete()
    row = out.world.media["2001"]
    out.world.media["2001"] = replace(row, brief=replace(row.brief, clock="1-1"))
    said = "post 100 media 2001 state media.progress: the post has ('1-0', 'pixel-1', (99, "
    assert any(line.startswith(said) for line in await lines(out))
    del out.world.media["2001"]
    assert "post 100 media 2001 state media: missing, the post has it" in await lines(out)


async def test_ids_that_are_no_numbers_have_results_only() -> None:
    out = GivenOut()
    out.tell(registered("x", clock=1), triggered("x"))
    for task in list(out.world.tasks):
        out.tell(answered(task))
    findings = await out.verified()
    assert (findings.differences, findings.told) == ([], {"rows of ids that are no numbers": 1})
    del out.rows[POST_SEARCH, 100]
    assert len(await lines(out)) == 1
