from __future__ import annotations

import pytest

from streamapp.backlog import EVERY, STILL, UNKNOWN, Backlog
from streamapp.settings import Settings


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("streamapp.backlog.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def backlog() -> Backlog:
    return Backlog(Settings(tasks_in_flight=16))


def test_a_backlog_is_more_than_a_worker_has_in_hand_and_moves(clock: Clock) -> None:
    seen = backlog()
    seen.note("vision", done=100, lag=17)
    seen.note("captions", done=100, lag=16)
    assert seen.behind == ("vision",)
    clock.now += STILL - 1
    seen.note("vision", done=101, lag=40)
    clock.now += STILL - 1
    assert seen.behind == ("vision",)
    seen.note("vision", done=101, lag=60)  # grows, but nobody works on it
    clock.now += 2
    assert not seen.behind


def test_what_is_not_known_is_told_apart_from_none_but_not_for_ever(clock: Clock) -> None:
    seen = backlog()
    assert not seen.known  # not looked yet
    seen.note("vision", done=0, lag=0)
    assert seen.known
    clock.now += 3 * EVERY + 1
    assert not seen.known
    clock.now += UNKNOWN
    assert seen.known
