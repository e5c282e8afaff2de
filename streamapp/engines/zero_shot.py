"""From how near a picture is to words, to what is said of it.

Every set of words is judged by itself: the softmax of the logits (cosine x the scale that CLIP learned, about 100) over
its words, which is how CLIP was trained and evaluated. Probabilities of one set sum to 1, so a picture that shows four
things gives each about a quarter: hence low thresholds and few words. They are those of the service that existing
consumers know. On real pictures neither has been measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamapp.insights import Label, Moderation

MOST = 5  # words of a kind
TAG_LEAST = 0.01  # probability from which a tag is said
SCENE_LEAST = 0.05  # of a scene
UNSAFE_LEAST = 0.45  # probability of all unsafe words together; fewer than half: rather hidden than shown


def words(names: Sequence[str], logits: NDArray[np.float64], *, least: float) -> tuple[Label, ...]:
    """At most MOST words, the most probable first, equal ones by name; always the most probable one.

    Raises ValueError where a logit is not finite.
    """
    scores = {name: float(score) for name, score in zip(names, softmax(logits), strict=True)}
    best, *others = sorted(scores, key=lambda name: (-scores[name], name))[:MOST]
    said = [best, *(name for name in others if scores[name] >= least)]
    return tuple(Label(name, round(scores[name], 4)) for name in said)


def moderation(
    names: Sequence[str], logits: NDArray[np.float64], *, safe: int, least: float = UNSAFE_LEAST
) -> Moderation:
    """Whether a picture may be shown. The first `safe` names are of what may, the others of what may not.

    Raises ValueError where a logit is not finite: what cannot be judged is never called safe.
    """
    scores = softmax(logits)
    unsafe = float(scores[safe:].sum())
    is_safe = unsafe < least  # False for anything odd
    return Moderation(
        is_safe=is_safe,
        confidence=round(min(max(1 - unsafe if is_safe else unsafe, 0.0), 1.0), 4),
        scores=tuple(
            Label(name, round(float(score), 4)) for name, score in zip(names[safe:], scores[safe:], strict=True)
        ),
    )


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits (words,). Raises ValueError where one is not finite."""
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not a finite number")
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())
