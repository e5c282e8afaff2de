"""Pictures for tests of models."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import samples
from streamapp.media.image import Picture, decode


def picture(pixels: NDArray[np.uint8]) -> Picture:
    """As decoding gives it: nobody may write to it."""
    pixels = pixels.copy()
    pixels.setflags(write=False)
    return Picture(pixels=pixels, digest="")


def sample(name: str) -> Picture:
    return decode(samples.path(name).read_bytes(), max_pixels=10**7)


def saved(image: Image.Image, form: str) -> Picture:
    buffer = BytesIO()
    image.save(buffer, form)
    return decode(buffer.getvalue(), max_pixels=10**7)
