"""The interfaces of everything that looks at pictures, one per family of services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamapp.insights import (
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


class Vision(Protocol):
    """Tells what is in a picture, and whether it may be shown.

    This and the other two are synchronous work for executor threads, by the batch; safe to call from several threads at
    once. Each gives one answer per picture, in order, and the same answer (to the rounding of a matrix product)
    whatever else is in the batch. Vectors are little-endian float32, finite, of length 1.
    """

    @property
    def model(self) -> str:
        """`name@revision`, in every answer; another one means that answers may differ."""
        ...

    def see(self, pictures: Sequence[Picture]) -> list[Sight]:
        """Moderation, tags, scenes and the image vector."""
        ...


class Captioner(Protocol):
    """Describes pictures in words. See Vision for what holds of the methods."""

    @property
    def model(self) -> str:
        """See Vision."""
        ...

    def caption(self, pictures: Sequence[Picture]) -> list[ImageCaptioning]:
        """One sentence per picture."""
        ...


class FaceFinder(Protocol):
    """Finds faces. See Vision for what holds of the methods."""

    @property
    def model(self) -> str:
        """See Vision."""
        ...

    def faces(self, pictures: Sequence[Picture]) -> list[FaceDetection]:
        """The faces, the surest first, with their vectors."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What looks at the pictures of one application: a part per family of services."""

    vision: Vision
    captioner: Captioner
    faces: FaceFinder

    @property
    def model(self) -> str:
        """One name for all of it, of a fixed length: tasks carry it, so that another model is another generation."""
        names = (self.vision.model, self.captioner.model, self.faces.model)
        if len(set(names)) == 1:
            return names[0]
        return "models-" + sha256("\n".join(names).encode()).hexdigest()[:12]
