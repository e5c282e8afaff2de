"""Which known face a face is: a pure decision over its nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from streamapp.settings import Settings

NEIGHBOURS = 5  # known faces that are looked at for each face, as in the backend's own query
DIGITS = 5
"""Decimals of a cosine. Sums of 1,024 products of float32 numbers are right to about 1e-6, so half a unit of the fifth
decimal is more than PostgreSQL and numpy can differ by: a cosine that should be 0.85 is 0.85 in both."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A known face and the cosine of the two, rounded."""

    user_id: int
    username: str
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Raw cosines from which a face is somebody, and may be."""

    identified: float = 0.85
    suggested: float = 0.70

    @property
    def reach(self) -> float:
        """The cosine distance at which a face may still be somebody: that of the nearest which is rounded up to it."""
        return 1 - self.suggested + 0.1**DIGITS


def thresholds(settings: Settings) -> Thresholds:
    """As the settings say."""
    return Thresholds(identified=settings.face_identified, suggested=settings.face_suggested)


def cosine(distance: float) -> float:
    """Of a cosine distance, rounded."""
    return round(1 - distance, DIGITS)


def decide(
    neighbours: Iterable[Neighbour], thresholds: Thresholds
) -> tuple[Neighbour, Literal["IDENTIFIED", "SUGGESTED"]] | None:
    """The nearest one, of several the smallest user id, and how sure that is; None: nobody known."""
    nearest = min(neighbours, key=lambda each: (-each.cosine, each.user_id), default=None)
    if nearest is None or not nearest.cosine >= thresholds.suggested:
        return None
    return nearest, "IDENTIFIED" if nearest.cosine >= thresholds.identified else "SUGGESTED"
