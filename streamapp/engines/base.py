"""The interface of everything that looks at pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamapp.events import (
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Moderation,
    SceneRecognition,
    Tagging,
)
from streamapp.media.image import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one pass over a picture gives."""

    moderation: Moderation
    tagging: Tagging
    scene_recognition: SceneRecognition
    image_embedding: ImageEmbedding

    @property
    def insights(self) -> tuple[Insight, ...]:
        return (self.moderation, self.tagging, self.scene_recognition, self.image_embedding)


def unit(values: NDArray[np.int64] | NDArray[np.float64]) -> bytes:
    """The values scaled to length 1, as little-endian float32. values: (dim,), finite, not all 0."""
    numbers = values.astype(np.float64)
    return bytes((numbers / np.sqrt((numbers * numbers).sum())).astype("<f4").tobytes())


class Engine(Protocol):
    """Synchronous work for executor threads, by the batch; safe to call from several threads at once.

    Each method gives one answer per picture, in order, and the same answer whatever else is in the batch.
    Vectors are little-endian float32, finite, of length 1.
    """

    @property
    def model(self) -> str:
        """Names the engine and its version in every answer; another name means answers may differ."""
        ...

    def see(self, pictures: Sequence[Picture]) -> list[Sight]:
        """Moderation, tags, scenes and the image vector."""
        ...

    def caption(self, pictures: Sequence[Picture]) -> list[ImageCaptioning]:
        """One sentence per picture."""
        ...

    def faces(self, pictures: Sequence[Picture]) -> list[FaceDetection]:
        """The faces, the surest first."""
        ...
