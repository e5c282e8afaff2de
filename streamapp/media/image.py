"""Decode image files to upright RGB pixels, strictly: what is not wholly an image is refused."""

from __future__ import annotations

import hashlib
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

# Pillow's own limit warns through a process-wide mechanism; decode() has its own limit, checked before pixels exist.
Image.MAX_IMAGE_PIXELS = None

# Decoding takes up to 17 bytes of memory a pixel: larger pictures than this are decoded one at a time in a process.
LARGE_PIXELS = 16_000_000
_one_large = threading.Lock()
# Each scan of a progressive JPEG is a walk over all its pixels, and may be a few bytes; real ones have about ten. In
# other bytes, such as the film at the end of a motion photo, one in 65 kB looks like a scan. About 10 s of work.
MAX_SCANNED_PIXELS = 10_000_000_000

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
SIDEWAYS = {UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}


class ImageError(Exception):
    """The bytes are not an image that can be decoded. Another attempt with them is useless."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An upright image. `pixels` (height, width, 3) uint8 RGB, read-only; `digest` sha256 of the file, hex.

    scale: 1, or 2, 4, 8, ... where the file's picture is that many times larger than `pixels`, to its last pixels:
    file_size is its exact (width, height) then. What is told about places and sizes is told in pixels of the file's
    picture.
    """

    pixels: NDArray[np.uint8]
    digest: str
    scale: int = 1
    file_size: tuple[int, int] | None = None

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def full_width(self) -> int:
        """Of the file's picture, upright."""
        return self.width if self.file_size is None else self.file_size[0]

    @property
    def full_height(self) -> int:
        """Of the file's picture, upright."""
        return self.height if self.file_size is None else self.file_size[1]

    def full_box(self, x: int, y: int, width: int, height: int) -> tuple[int, int, int, int]:
        """A box in `pixels` as one in the file's picture: (x, y, width, height), none of it outside."""
        left, top = x * self.scale, y * self.scale
        return (
            left,
            top,
            min(width * self.scale, self.full_width - left),
            min(height * self.scale, self.full_height - top),
        )

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


def decode(raw: bytes, *, max_pixels: int, min_side: int = 0) -> Picture:
    """The picture in a JPEG, PNG, WebP or GIF (first frame) file.

    Orientation is applied, transparency laid over white, every colour mode turned to RGB. With min_side, a large
    picture is decoded smaller, see shrinkage(): it takes 24 x min_side^2 bytes at most.
    Raises ImageError: another format, more than max_pixels (width x height) in the file, truncated or corrupt.
    """
    name = sniff(raw)
    try:
        with Image.open(BytesIO(raw), formats=[name]) as image:
            width, height = image.size
            _check(raw, name, width, height, max_pixels)
            scale = shrinkage(width, height, min_side)
            with _one_large if width * height > LARGE_PIXELS else nullcontext():
                turn = _load(image, scale)
                upright = _shrunk_rgb(image, max(width, height), scale)
                pixels = np.asarray(upright if turn is None else upright.transpose(turn))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        cause = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise ImageError(f"truncated or corrupt {name}: {cause}") from error
    pixels.setflags(write=False)  # shared between threads
    size = (height, width) if turn in SIDEWAYS else (width, height)
    return Picture(pixels=pixels, digest=hashlib.sha256(raw).hexdigest(), scale=scale, file_size=size)


def shrinkage(width: int, height: int, min_side: int) -> int:
    """How many times smaller a picture is decoded: 1, 2, 4, ...; a JPEG decoder does it at no cost up to 8.

    Halved as long as its shorter side keeps min_side pixels, and for as long as it has more pixels than one of 2 to 1
    whose side is just too short for that: a long strip takes no more memory than a photograph. 0: never.
    """
    if min_side <= 0:
        return 1
    scale = 1
    while min(width, height) >= 2 * scale * min_side or -(-width // scale) * -(-height // scale) > 8 * min_side**2:
        scale *= 2
    return scale


def _check(raw: bytes, name: str, width: int, height: int, max_pixels: int) -> None:
    """Before there are pixels. Raises ImageError."""
    if width * height > max_pixels:
        raise ImageError(f"{name} of {width}x{height} is larger than {max_pixels} pixels")
    if name == "JPEG" and (scans := raw.count(b"\xff\xda")) * width * height > MAX_SCANNED_PIXELS:
        raise ImageError(f"JPEG of {width}x{height} in {scans} scans")


def _load(image: ImageFile.ImageFile, scale: int) -> Image.Transpose | None:
    """Decode, a JPEG at 1/scale at once. Gives what makes it upright."""
    if scale > 1:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))  # no other format has it
    _match_transparency(image)
    image.load()
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # broken metadata does not make the pixels worse
        return None
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _match_transparency(image: ImageFile.ImageFile) -> None:
    """Turn the transparent colour of a PNG to 8 bits as Pillow turns the samples to which it compares it.

    Of 16-bit colour Pillow gives the upper bytes alone: what has the same ones is as transparent.
    """
    match image.tile[0].args if image.tile else None, image.info.get("transparency"):
        case "L;2", int(grey):
            image.info["transparency"] = grey % 4 * 85
        case "L;4", int(grey):
            image.info["transparency"] = grey % 16 * 17
        case "RGB;16B", (red, green, blue):
            image.info["transparency"] = (red >> 8, green >> 8, blue >> 8)


def _shrunk_rgb(image: Image.Image, longer: int, scale: int) -> Image.Image:
    """RGB at 1/scale. longer: the longer side of the file's picture."""
    image = _eight_bit(image)
    if (left := scale * max(image.size) // longer) > 1:  # what the decoder has not done
        image = image.reduce(left)
    if image.mode == "RGBA":
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """In mode RGB, or RGBA where something is transparent."""
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip instead of scale
        grey = np.asarray(image)
        if grey.dtype.itemsize > 2:
            grey = np.clip(grey, 0, 0xFFFF)
        if (transparent := image.info.get("transparency")) is not None:
            grey = np.where(grey == transparent, 0xFFFF, grey)
        image = Image.fromarray((grey >> 8).astype(np.uint8))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)
