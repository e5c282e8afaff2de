"""Which face of a profile picture is the user's: a pure decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamapp.insights import Face

EQUAL = 0.8
"""Of the best face's score, from which another one is as good: then nobody can say whose picture it is. A bystander in
the background is smaller than that in any portrait."""


class EnrolmentRefused(ValueError):
    """No face of the picture can be enrolled; the text says why."""


class Outdated(Exception):
    """A later picture of the user counts, or they were forgotten later. That is no failure: what was answered when it
    was new comes again when a worker was killed before it acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a face must be. min_side: pixels of the shorter side of its box. min_quality: 0..1, of the engine."""

    min_side: int = 80
    min_quality: float = 0.3


def score(face: Face, *, largest: int) -> float:
    """0..1: the engine's quality (how sure it is, times the worst of size, sharpness and frontality), times the face's
    side in proportion to that of the largest face."""
    return quality(face) * _side(face) / max(largest, 1)


def choose(faces: Sequence[Face], demands: Demands) -> Face:
    """The face to enrol. Raises EnrolmentRefused."""
    if not faces:
        raise EnrolmentRefused("no face in the picture")
    largest = max(map(_side, faces))
    ranked = sorted(faces, key=lambda face: -score(face, largest=largest))
    best = ranked[0]
    if len(ranked) > 1 and score(ranked[1], largest=largest) >= EQUAL * score(best, largest=largest):
        raise EnrolmentRefused(f"{len(faces)} faces in the picture, and several are equally good")
    if _side(best) < demands.min_side:
        raise EnrolmentRefused(
            f"the face is too small: {best.bbox[2]}x{best.bbox[3]} pixels, {demands.min_side} are needed"
        )
    if quality(best) < demands.min_quality:
        raise EnrolmentRefused(
            f"the face is not clear enough: quality {quality(best):.2f}, {demands.min_quality:g} is needed"
        )
    if best.embedding is None:
        raise EnrolmentRefused("the face could not be read")
    return best


def _side(face: Face) -> int:
    return min(face.bbox[2], face.bbox[3])


def quality(face: Face) -> float:
    """0..1, the engine's; of one that does not rate, how sure it is of the face."""
    return face.confidence if face.quality is None else face.quality
