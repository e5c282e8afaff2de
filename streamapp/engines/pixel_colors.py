"""The colours of a picture: the dominant ones, and a vector of which colour is where."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamapp.engines.base import unit
from streamapp.media.image import Picture

LAYOUT = (8, 8)  # parts of the picture whose mean colours are features
HISTOGRAM_SIZE = (64, 64)
HISTOGRAM_WEIGHT = 800  # about the length of the layout features of a usual picture
SEED = b"streamapp pixel-1 image"


def dominant_colors(picture: Picture, *, limit: int = 5) -> tuple[str, ...]:
    """At most limit colours "#RRGGBB", the most frequent first, of the 8 that represent the picture best."""
    small = picture.image().resize(HISTOGRAM_SIZE, Image.Resampling.BOX).quantize(8)
    palette = small.getpalette() or []
    counts = Counter[str]()
    for index, count in enumerate(small.histogram()):
        if count:
            counts["#{:02X}{:02X}{:02X}".format(*palette[3 * index : 3 * index + 3])] += count
    return tuple(sorted(counts, key=lambda color: (-counts[color], color))[:limit])


def image_vector(picture: Picture, dim: int) -> bytes:
    """dim little-endian float32 of length 1: similar pictures have a high cosine.

    Features are the mean colours of the LAYOUT and the square roots of a histogram of 4 x 4 x 4 colours, projected
    with signs from a hash of SEED. All are whole numbers up to the last step, so that every machine gives equal bytes.
    """
    image = picture.image()
    layout = np.asarray(image.resize(LAYOUT, Image.Resampling.BOX)).astype(np.int64).ravel() - 128
    bins = np.asarray(image.resize(HISTOGRAM_SIZE, Image.Resampling.BOX)).astype(np.int64) // 64
    counts = np.bincount((bins @ np.array([16, 4, 1])).ravel(), minlength=64)
    histogram = np.rint(HISTOGRAM_WEIGHT * np.sqrt(counts / counts.sum())).astype(np.int64)
    projected = np.concatenate([layout, histogram]) @ _signs(len(layout) + len(histogram), dim)
    if not projected.any():  # possible for very small dim only, but a vector without direction is none
        projected = np.ones(dim, np.int64)
    return unit(projected)


@lru_cache(maxsize=4)
def _signs(features: int, dim: int) -> NDArray[np.int64]:
    """A fixed random matrix (features, dim) of -1 and 1, which nearly keeps angles."""
    size = features * dim
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(SEED).digest(size // 8 + 1), np.uint8))[:size]
    return bits.astype(np.int64).reshape(features, dim) * 2 - 1
