"""When an index that takes nothing is left alone, and for how long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamapp.sinks import sending
from streamapp.sinks.bulk import Entry, Operation, Verdict
from streamapp.sinks.indices import LIVE, NEXT, Target
from streamapp.sinks.sending import LONGEST_WAIT, Rests, backoff

TABLES = ["read_model_media_search", "read_model_post_search"]
MEDIA, POSTS = TABLES


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sending, "time", clock)
    return clock


def note(rests: Rests, verdicts: Sequence[tuple[str, Target, Verdict]]) -> None:
    entries = [Entry(table_name=table, pk=1, target=target, version=1, attempts=1) for table, target, _ in verdicts]
    operations = [Operation(entry=entry, index="i", document=b"{}") for entry in entries]
    rests.note(operations, [(verdict, "") for _, _, verdict in verdicts])


def test_it_grows_to_an_end() -> None:
    assert [backoff(n) for n in range(7)] == [0.25, 0.5, 1, 2, 4, 8, LONGEST_WAIT]
    assert backoff(10**9) == LONGEST_WAIT


def test_what_took_nothing_rests_and_no_other(clock: Clock) -> None:
    rests = Rests()
    note(rests, [(MEDIA, LIVE, Verdict.LATER), (MEDIA, LIVE, Verdict.LATER), (POSTS, LIVE, Verdict.DONE)])
    assert rests.awake(TABLES, LIVE) == [POSTS]
    assert rests.awake(TABLES, NEXT) == TABLES
    clock.now += backoff(0)
    assert rests.awake(TABLES, LIVE) == TABLES


def test_it_rests_longer_each_time_until_it_takes_something(clock: Clock) -> None:
    rests = Rests()
    for n in range(9):
        note(rests, [(MEDIA, NEXT, Verdict.LATER)])
        clock.now += backoff(n) - 0.01
        assert rests.awake(TABLES, NEXT) == [POSTS]
        clock.now += 0.01
        assert rests.awake(TABLES, NEXT) == TABLES
    note(rests, [(MEDIA, NEXT, Verdict.DONE)])
    note(rests, [(MEDIA, NEXT, Verdict.LATER)])
    clock.now += backoff(0)
    assert rests.awake(TABLES, NEXT) == TABLES


@pytest.mark.parametrize("other", [Verdict.DONE, Verdict.STALE, Verdict.REJECTED])
def test_what_answers_for_one_document_does_not_rest(other: Verdict) -> None:
    rests = Rests()
    note(rests, [(MEDIA, LIVE, Verdict.LATER), (MEDIA, LIVE, other)])
    assert rests.awake(TABLES, LIVE) == TABLES
