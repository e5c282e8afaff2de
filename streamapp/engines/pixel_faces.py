"""Find the face markers (see marker.py) in a picture, and read who they are.

Reliable from 40 pixels of width on at JPEG quality 90, from 50 at quality 75.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamapp.engines.base import unit
from streamapp.engines.blobs import Blob, Mask, blobs
from streamapp.engines.marker import BAND, FACE_TOP, HAT_COLORS, HEIGHT, Identity, likeness
from streamapp.insights import Face
from streamapp.media.image import Picture

LONG_SIDE = 960  # pixels; a larger picture is searched in this size
MIN_WIDTH = 16  # pixels; in a narrower face the eyes are a pixel or two
SURE_WIDTH = 96  # pixels; from here on quality no longer grows
MIN_CONFIDENCE = 0.72  # likeness; of clean markers more than 0.9, of a face without one of its parts 0.5
HUE_TOLERANCE = 14  # of 256; neighbouring hat colours are 32 or more apart


def find_faces(picture: Picture, *, dim: int, limit: int) -> tuple[Face, ...]:
    """At most limit faces, the surest first, then by top and left; vectors of dim float32.

    A face whose hat cannot be read has no vector: somebody, but nobody knows who.
    """
    image = picture.image()
    scale = max(picture.width, picture.height) / LONG_SIDE
    if scale > 1:
        size = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
        image = image.resize(size, Image.Resampling.BOX)
    hsv = np.asarray(image.convert("HSV"))
    scale = max(scale, 1.0) * picture.scale  # boxes are told in pixels of the file's picture
    found = (_face(image, hsv, blob, scale, dim) for blob in blobs(skin(hsv), min_area=MIN_WIDTH**2 // 2))
    faces = [face for face in found if face is not None]
    return tuple(sorted(faces, key=lambda face: (-face.confidence, face.bbox[1], face.bbox[0]))[:limit])


def skin(hsv: NDArray[np.uint8]) -> Mask:
    """Where the colour is that of skin, from pale to dark: hue 10 to 30 degrees, neither grey nor garish nor dark."""
    hue, saturation, value = (hsv[..., channel] for channel in range(3))
    return (hue >= 7) & (hue <= 21) & (saturation >= 60) & (saturation <= 160) & (value >= 115)


def vector(identity: Identity, dim: int) -> bytes:
    """The face vector of an identity: dim little-endian float32 of length 1.

    Independent of the picture, so one identity has cosine 1 everywhere and two have about 0 (deviation 1/sqrt(dim)).
    The bytes come from a hash and not from a random generator, whose stream may change with its version.
    """
    seed = b"streamapp pixel-1 face:" + "-".join(identity).encode()
    numbers = np.frombuffer(hashlib.shake_256(seed).digest(2 * dim), "<i2").astype(np.float64) + 0.5  # never 0
    return unit(numbers)


def _face(image: Image.Image, hsv: NDArray[np.uint8], blob: Blob, scale: float, dim: int) -> Face | None:
    expected = HEIGHT - FACE_TOP
    if blob.width < MIN_WIDTH or not 0.8 < blob.height / blob.width / expected < 1.25 or blob.fill < 0.45:
        return None
    crop = image.crop((blob.left, blob.top, blob.right, blob.bottom))
    confidence = min(likeness(crop), 1.0)
    if confidence < MIN_CONFIDENCE:
        return None
    identity = _identity(hsv, blob)
    top = max(0.0, blob.top - FACE_TOP * blob.width)
    return Face(
        bbox=(
            round(blob.left * scale),
            round(top * scale),
            round(blob.width * scale),
            round((blob.bottom - top) * scale),
        ),
        confidence=round(confidence, 4),
        quality=round(min(blob.width / SURE_WIDTH, 1.0) * confidence, 4),
        embedding=None if identity is None else vector(identity, dim),
    )


def _identity(hsv: NDArray[np.uint8], blob: Blob) -> Identity | None:
    """The colours of the hat above a face, or None where one of them is none of the known."""
    left, right = round(blob.left + 0.36 * blob.width), round(blob.left + 0.64 * blob.width)
    names = []
    for index in range(3):
        middle = blob.top - (FACE_TOP - (index + 0.5) * BAND) * blob.width
        reach = 0.25 * BAND * blob.width
        top, bottom = round(middle - reach), round(middle + reach) + 1
        if top < 0:
            return None
        names.append(_color(hsv[top:bottom, left:right].reshape(-1, 3)))
    a, b, c = names
    return None if a is None or b is None or c is None else (a, b, c)


def _color(pixels: NDArray[np.uint8]) -> str | None:
    hues, saturation, value = pixels[:, 0], np.median(pixels[:, 1]), np.median(pixels[:, 2])
    if saturation < 40 and value > 170:
        return "white"
    if saturation < 100:
        return None
    distances = {name: float(np.median(_apart(hues, hue))) for name, hue in _HUES.items()}
    nearest = min(distances, key=lambda name: distances[name])
    return nearest if distances[nearest] <= HUE_TOLERANCE else None


def _apart(hues: NDArray[np.uint8], hue: int) -> NDArray[np.int64]:
    difference = np.abs(hues.astype(np.int64) - hue)
    return np.asarray(np.minimum(difference, 256 - difference))


_HUES: dict[str, int] = {
    name: int(np.asarray(Image.new("RGB", (1, 1), color).convert("HSV"))[0, 0, 0])
    for name, color in HAT_COLORS.items()
    if name != "white"
}
