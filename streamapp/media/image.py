"""Decode image files to upright RGB pixels, strictly: what is not wholly an image is refused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pillow's own limit warns through a process-wide mechanism; decode() has its own limit, checked before pixels exist.
Image.MAX_IMAGE_PIXELS = None

EXIF_ORIENTATION = 0x0112
# EXIF 2.3, tag 274: what makes an image with this orientation upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(Exception):
    """The bytes are not an image that can be decoded. Another attempt with them is useless."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An upright image. `pixels` (height, width, 3) uint8 RGB, read-only; `digest` sha256 of the file, hex."""

    pixels: NDArray[np.uint8]
    digest: str

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def image(self) -> Image.Image:
        """The picture for Pillow; a copy."""
        return Image.fromarray(self.pixels)


def sniff(raw: bytes) -> str:
    """Pillow's name of the format, from the first bytes (a declared content type is often wrong). Raises ImageError."""
    if raw.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return "WEBP"
    raise ImageError(f"not an image: starts with {raw[:12]!r}" if raw else "not an image: empty")


def decode(raw: bytes, *, max_pixels: int) -> Picture:
    """The picture in a JPEG, PNG, WebP or GIF (first frame) file.

    Orientation is applied, transparency laid over white, every colour mode turned to RGB.
    Raises ImageError: another format, more than max_pixels (width x height), truncated or corrupt.
    """
    name = sniff(raw)
    try:
        with Image.open(BytesIO(raw), formats=[name]) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(f"{name} of {width}x{height} is larger than {max_pixels} pixels")
            image.load()
            pixels = np.array(_rgb(_upright(image)))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        cause = str(error)[:120] or type(error).__name__
        raise ImageError(f"truncated or corrupt {name}: {cause}") from error
    pixels.setflags(write=False)  # shared between threads
    return Picture(pixels=pixels, digest=hashlib.sha256(raw).hexdigest())


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # broken metadata does not make the pixels worse
        return image
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip instead of scale
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 0xFFFF) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
