"""The face marker: a drawn face under a striped hat, which the pixel engine can find and tell from another.

Lengths are in widths of the face; the head is 1 wide and HEIGHT high, its corner at (0, 0):

    0 .. BRIM            the hat: a dome of three bands, top, middle and lower. Their colours are the identity.
    FACE_TOP .. HEIGHT   the face: half an ellipse of skin with two eyes and an open mouth
    around it all        a dark outline, so that the skin never touches anything of its own colour

Everything is symmetric, so a mirrored image shows the same person. `likeness` compares with what `draw` draws: what
is drawn and what is looked for cannot drift apart.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Identity = tuple[str, str, str]

HEIGHT = 1.40
BRIM = 0.54
FACE_TOP = 0.58
OUTLINE = 0.055
BAND = BRIM / 3
# Hues at least 45 degrees apart, none of them that of skin.
HAT_COLORS: dict[str, Color] = {
    "red": (212, 38, 48),
    "yellow": (250, 205, 40),
    "green": (44, 160, 66),
    "blue": (40, 104, 216),
    "violet": (142, 64, 190),
    "white": (246, 246, 246),
}
IDENTITIES: tuple[Identity, ...] = tuple(product(HAT_COLORS, HAT_COLORS, HAT_COLORS))  # 216
SKINS: tuple[Color, ...] = ((240, 192, 162), (206, 148, 112), (160, 106, 78))
INK: Color = (38, 32, 58)  # bluish, so that its blends with skin do not look like skin

COMPARED_SIZE = (24, 20)  # (width, height) in pixels


def draw(image: Image.Image, *, left: float, top: float, width: float, hat: Identity, skin: Color) -> None:
    """Draw the marker onto an RGB image. left, top, width: of the head, in pixels."""
    pen = ImageDraw.Draw(image)

    def box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return (left + x0 * width, top + y0 * width, left + x1 * width, top + y1 * width)

    crown = 2 * BRIM - HEIGHT  # of the ellipse whose lower half, from brim to chin, is the face
    pen.pieslice(box(-OUTLINE, crown - OUTLINE, 1 + OUTLINE, HEIGHT + OUTLINE), 0, 180, fill=INK)
    pen.pieslice(box(0, crown, 1, HEIGHT), 0, 180, fill=skin)
    for x in (0.30, 0.70):
        pen.ellipse(box(x - 0.11, 0.71, x + 0.11, 0.91), fill=(255, 255, 255))
        pen.ellipse(box(x - 0.065, 0.74, x + 0.065, 0.89), fill=INK)
    pen.pieslice(box(0.28, 0.90, 0.72, 1.24), 0, 180, fill=(120, 24, 34))

    pen.pieslice(box(-OUTLINE, -OUTLINE, 1 + OUTLINE, 2 * BRIM + OUTLINE), 180, 360, fill=INK)
    pen.rectangle(box(-OUTLINE, BRIM, 1 + OUTLINE, FACE_TOP), fill=INK)
    bands, dome = image.copy(), Image.new("L", image.size)
    for index, name in enumerate(hat):
        band = box(0, index * BAND, 1, (index + 1) * BAND)
        ImageDraw.Draw(bands).rectangle(band, fill=HAT_COLORS[name])
    ImageDraw.Draw(dome).pieslice(box(0, 0, 1, 2 * BRIM), 180, 360, fill=255)
    image.paste(bands, mask=dome)


def likeness(face: Image.Image) -> float:
    """How much a crop of FACE_TOP .. HEIGHT looks like the marker's face, -1..1: its correlation with a drawn one."""
    return float((_templates() @ _normalized(face)).max())


@cache
def _templates() -> NDArray[np.float64]:
    scale = 240  # pixels per width, ten times the size that is compared
    drawn = []
    for skin in SKINS:
        canvas = Image.new("RGB", (scale, int(HEIGHT * scale)), INK)
        draw(canvas, left=0, top=0, width=scale, hat=IDENTITIES[0], skin=skin)
        drawn.append(_normalized(canvas.crop((0, int(FACE_TOP * scale), scale, int(HEIGHT * scale)))))
    return np.stack(drawn)


def _normalized(face: Image.Image) -> NDArray[np.float64]:
    """The grey values within the ellipse (outside is background), mean 0 and norm 1; 0 where there is no contrast."""
    grey = np.asarray(face.convert("L").resize(COMPARED_SIZE, Image.Resampling.BOX), np.float64)
    y, x = np.indices(grey.shape) + 0.5
    across, down = 2 * x / grey.shape[1] - 1, y / grey.shape[0]
    values = grey[across**2 + down**2 < 0.85]
    values = values - values.mean()
    norm = float(np.sqrt((values * values).sum()))
    return np.asarray(values / norm if norm > 0 else values)
