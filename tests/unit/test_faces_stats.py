"""How cosines distribute."""

from __future__ import annotations

from streamapp.faces.matching import Thresholds
from streamapp.faces.stats import Stored, summarise, text

SAMPLE = [
    *(Stored("IDENTIFIED", cosine) for cosine in (0.85, 0.9, 0.95, 1.0)),
    *(Stored("SUGGESTED", cosine) for cosine in (0.7, 0.86)),
    *(Stored("UNKNOWN", cosine) for cosine in (-0.03, 0.1, 0.699)),
    Stored("UNKNOWN", None),
]


def test_by_status() -> None:
    found = summarise(SAMPLE, Thresholds())
    assert found["stored"] == {"IDENTIFIED": 4, "SUGGESTED": 2, "UNKNOWN": 4}
    assert found["now"] == {"IDENTIFIED": 5, "SUGGESTED": 1, "UNKNOWN": 4}
    assert found["disagree"] == 1
    assert found["quartiles"]["IDENTIFIED"] == [0.8875, 0.925, 0.9625]
    assert summarise(SAMPLE, Thresholds(identified=0.9, suggested=0.8))["disagree"] == 2


def test_the_histogram_has_the_lower_ends_in_it() -> None:
    rows = {row["from"]: row for row in summarise(SAMPLE, Thresholds())["histogram"]}
    assert list(rows) == [round(-0.05 + 0.05 * n, 2) for n in range(22)]
    assert (rows[0.85]["IDENTIFIED"], rows[0.85]["SUGGESTED"], rows[1.0]["IDENTIFIED"]) == (1, 1, 1)
    assert (rows[0.65]["UNKNOWN"], rows[0.7]["SUGGESTED"], rows[-0.05]["UNKNOWN"]) == (1, 1, 1)
    assert sum(row[status] for row in rows.values() for status in ("IDENTIFIED", "SUGGESTED", "UNKNOWN")) == 9


def test_one_face_and_none() -> None:
    one = summarise([Stored("SUGGESTED", 0.8)], Thresholds())
    assert one["quartiles"] == {"IDENTIFIED": None, "SUGGESTED": [0.8, 0.8, 0.8], "UNKNOWN": None}
    assert len(one["histogram"]) == 1
    none = summarise([], Thresholds())
    assert none["histogram"] == []
    assert text(none).splitlines()[0] == "0 stored faces; identified from 0.85, suggested from 0.7"


def test_for_people() -> None:
    lines = text(summarise(SAMPLE, Thresholds())).splitlines()
    assert lines[2].split() == ["IDENTIFIED", "4", "5", "0.887", "0.925", "0.963"]
    assert "1 are stored with another status than these thresholds give" in lines
    assert lines[-1].split() == ["1.00", "1", "0", "0"]
