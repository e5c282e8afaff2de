"""How near stored faces are to the nearest known one, by what they are said to be: for choosing thresholds. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from streamapp.faces.matching import Neighbour, Thresholds, decide

STATUSES = ("IDENTIFIED", "SUGGESTED", "UNKNOWN")
BIN = 0.05  # of a cosine


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored face: what it is said to be, and the cosine to the nearest known face; None: there is none."""

    status: str
    cosine: float | None


def summarise(sample: Sequence[Stored], thresholds: Thresholds) -> dict[str, Any]:
    """Counts by status as stored and as the thresholds have it, quartiles and a histogram by the stored status, and how
    many faces are stored with another status than the thresholds give."""
    now = [_status(face.cosine, thresholds) for face in sample]
    cosines: dict[str, list[float]] = {status: [] for status in STATUSES}
    for face in sample:
        if face.cosine is not None:
            cosines[face.status].append(face.cosine)
    return {
        "sample": len(sample),
        "thresholds": {"identified": thresholds.identified, "suggested": thresholds.suggested},
        "stored": {status: sum(face.status == status for face in sample) for status in STATUSES},
        "now": {status: now.count(status) for status in STATUSES},
        "disagree": sum(face.status != status for face, status in zip(sample, now, strict=True)),
        "quartiles": {status: _quartiles(values) for status, values in cosines.items()},
        "histogram": _histogram(cosines),
    }


def text(found: dict[str, Any]) -> str:
    """For people."""
    limits, disagree = found["thresholds"], found["disagree"]
    used = f"identified from {limits['identified']:g}, suggested from {limits['suggested']:g}"
    lines = [
        f"{found['sample']:,} stored faces; {used}",
        f"{'':10} {'stored':>10} {'now':>10}   nearest known face: quartiles",
    ]
    for status in STATUSES:
        quarters = "  ".join(f"{value:.3f}" for value in found["quartiles"][status] or ())
        lines.append(f"{status:10} {found['stored'][status]:10,} {found['now'][status]:10,}   {quarters or '-'}")
    if disagree:
        lines.append(f"{disagree:,} are stored with another status than these thresholds give")
    if found["histogram"]:
        lines.append(f"{'cosine':10} " + " ".join(f"{status:>10}" for status in STATUSES))
    for row in found["histogram"]:
        lines.append(f"{row['from']:10.2f} " + " ".join(f"{row[status]:10,}" for status in STATUSES))
    return "\n".join(lines)


def _status(cosine: float | None, thresholds: Thresholds) -> str:
    decided = None if cosine is None else decide([Neighbour(0, "", cosine)], thresholds)
    return "UNKNOWN" if decided is None else decided[1]


def _quartiles(values: Sequence[float]) -> list[float] | None:
    if not values:
        return None
    return [round(value, 5) for value in quantiles(values, n=4, method="inclusive")] if values[1:] else [values[0]] * 3


def _histogram(cosines: dict[str, list[float]]) -> list[dict[str, Any]]:
    """From the lowest bin to the highest, the lower ends of the bins included in them."""
    bins = {status: Counter(map(_bin, values)) for status, values in cosines.items()}
    used = [number for counts in bins.values() for number in counts]
    return [
        {"from": round(number * BIN, 2), **{status: bins[status][number] for status in STATUSES}}
        for number in (range(min(used), max(used) + 1) if used else ())
    ]


def _bin(cosine: float) -> int:
    return math.floor(round(cosine / BIN, 6))
