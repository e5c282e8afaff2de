"""How far something is, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from streamapp.cli.progress import Progress, told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be moved by hand."""
    now = [100.0]
    monkeypatch.setattr("streamapp.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_a_line_has_counts_rate_and_what_is_left() -> None:
    assert told("x", "written", 2500, 10000, seconds=5) == "x 2,500/10,000 written (25%), 500/s, 15 s left"
    assert told("x", "written", 2500, 100000, seconds=5) == "x 2,500/100,000 written (2%), 500/s, 3 min 15 s left"
    assert told("x", "written", 10, 10, seconds=5) == "x 10/10 written (100%), 2/s"


def test_what_was_done_before_says_nothing_of_the_rate() -> None:
    assert told("x", "written", 600, 1000, seconds=10, before=500) == "x 600/1,000 written (60%), 10/s, 40 s left"


def test_nothing_to_do_is_all_done() -> None:
    assert told("x", "written", 0, 0, seconds=0) == "x 0/0 written (100%), 0/s"


@pytest.mark.parametrize(("done", "drawn"), [(0, 0), (5, 12), (10, 24)])
def test_a_bar_is_as_long_as_what_is_done(done: int, drawn: int) -> None:
    line = told("x", "written", done, 10, seconds=1, bar=True)
    assert line.startswith(f"x [{'#' * drawn:<24}] {done}/10")


def test_elsewhere_a_line_now_and_then(clock: list[float]) -> None:
    stream = io.StringIO()
    show = Progress("x", stream=stream)
    for done in range(101):
        show("written", done, 100)
        clock[0] += 0.25
    show.end()
    lines = stream.getvalue().splitlines()
    assert [line.split(" ")[1] for line in lines] == ["0/100", "20/100", "40/100", "60/100", "80/100", "100/100"]


def test_on_a_terminal_one_line_for_each_thing(clock: list[float]) -> None:
    stream = Terminal()
    show = Progress("x", stream=stream)
    for what in ("written", "compared"):
        for done in range(11):
            show(what, done, 10)
            clock[0] += 0.05
    show.end()
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert text.count("\r") > 8
    assert all(line.rpartition("\r")[2].startswith("\x1b[Kx [") for line in text.split("\n") if line)


def test_what_is_complete_is_said_once(clock: list[float]) -> None:
    stream = io.StringIO()
    show = Progress("x", stream=stream)
    show("written", 5, 5)
    show("written", 5, 5)
    assert stream.getvalue().count("5/5") == 1
