"""Cues: what colours and shapes of a picture hint at, each from 0 (nothing of it) to 1 (as much as it takes).

Everything is measured on a small version of the picture, in parts of it and not in pixels, and is symmetric in left
and right. The bounds of the ramps are chosen by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamapp.engines.blobs import Mask, blobs
from streamapp.engines.pixel_faces import skin
from streamapp.media.image import Picture

SIZE = (96, 72)  # (width, height) of the version that colours and edges are measured on
FIGURE_SIDE = 240  # pixels of the longer side of the version that standing people are looked for in
CHECKER_SQUARES = 8  # magenta squares from which a picture counts as unsafe

Hsv = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The cues of a picture, 0..1 each; figures and squares are numbers of things."""

    sky: float  # blue or white and bright, at the top
    glow: float  # the sky is red, orange or yellow
    water: float  # rows of blue below a horizon
    sand: float  # in the lower part
    green: float
    treetops: float  # green that reaches into the upper part
    windows: float  # straight edges in both directions, above the ground
    road: float  # grey ground
    dark: float
    figures: int  # that look like people standing
    squares: int  # of the magenta checker


def view(picture: Picture) -> View:
    """The cues of a picture."""
    image = picture.image()
    small = image.resize(SIZE, Image.Resampling.BOX)
    hsv = np.asarray(small.convert("HSV"))
    hue, saturation, value = (hsv[..., channel].astype(np.int64) for channel in range(3))
    half, third = SIZE[1] // 2, SIZE[1] // 3

    blue = (hue >= 118) & (hue <= 178) & (saturation >= 60)  # 165 to 250 degrees
    pale = (saturation < 60) & (value > 200)
    warm = ((hue <= 34) | (hue >= 228)) & (saturation >= 70) & (value >= 150)
    green = (hue >= 45) & (hue <= 120) & (saturation >= 55) & (value >= 40)  # 63 to 170 degrees
    sand = (hue >= 22) & (hue <= 38) & (saturation >= 40) & (saturation <= 145) & (value >= 130)
    grey = (saturation < 40) & (value >= 45) & (value <= 170)

    wet = _below_horizon(np.asarray(small.convert("RGB"))) & (blue.mean(axis=1) > 0.4)
    water = blue & wet[:, None]
    high = _share((blue & (value > 120)) | pale, 0, third)
    figures, squares = _shapes(image)
    return View(
        sky=_ramp(high, 0.15, 0.6) * _ramp(_share(blue & ~water, 0, third), 0.0, 0.12),
        glow=_ramp(_share(warm, 0, half), 0.2, 0.45),
        water=_ramp(_share(water, 0, SIZE[1]), 0.03, 0.10),
        sand=_ramp(_share(sand, half, SIZE[1]), 0.12, 0.3),
        green=_ramp(_share(green, 0, SIZE[1]), 0.25, 0.55),
        treetops=_ramp(_share(green, 0, half), 0.12, 0.4),
        windows=_windows(small, ~green),
        road=_ramp(_share(grey, 2 * third, SIZE[1]), 0.2, 0.5),
        dark=_ramp(float(np.mean(value < 60)), 0.5, 0.8),
        figures=figures,
        squares=squares,
    )


def _ramp(amount: float, low: float, high: float) -> float:
    return min(max((amount - low) / (high - low), 0.0), 1.0)


def _share(mask: Mask, top: int, bottom: int) -> float:
    return float(mask[top:bottom].mean())


def _below_horizon(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(height,): the rows below the first sharp change of colour from row to row, as where a sky ends.

    A row's colour is its median, which boats, people and small clouds do not move.
    """
    rows = np.median(rgb.astype(np.float64), axis=1)
    change = np.abs(rows[2:] - rows[:-2]).max(axis=1)
    edges = np.flatnonzero(change > 24) + 1
    edges = edges[edges >= len(rows) // 6]
    horizon = int(edges[0]) if len(edges) else len(rows)
    return np.arange(len(rows)) > horizon


def _windows(small: Image.Image, where: Mask) -> float:
    grey = np.asarray(small.convert("L")).astype(np.int64)
    across = np.abs(np.diff(grey, axis=1))[:-1] > 20
    down = np.abs(np.diff(grey, axis=0))[:, :-1] > 20
    above_ground = slice(0, SIZE[1] * 3 // 4)
    counted = where[:-1, :-1][above_ground]
    upright = across[:-2] & across[1:-1] & across[2:]  # edges that go on for three pixels
    level = down[:, :-2] & down[:, 1:-1] & down[:, 2:]
    uprights = float((np.pad(upright, ((1, 1), (0, 0)))[above_ground] & counted).mean())
    levels = float((np.pad(level, ((0, 0), (1, 1)))[above_ground] & counted).mean())
    return _ramp(uprights, 0.02, 0.10) * _ramp(levels, 0.02, 0.08)


def _shapes(image: Image.Image) -> tuple[int, int]:
    scale = FIGURE_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Enlarging a small picture shows nothing new, but one size keeps the bounds simple.
    hsv = np.asarray(image.resize(size, Image.Resampling.BOX).convert("HSV"))
    return _figures(hsv), _squares(hsv)


def _figures(hsv: Hsv) -> int:
    """Upright groups of skin with a head: narrow at the top, wider below, interrupted by clothes."""
    bare = skin(hsv)
    height = bare.shape[0]
    joined = bare.copy()
    for distance in range(1, max(2, height // 12)):  # over trousers
        joined[distance:] |= bare[:-distance]
    count = 0
    for blob in blobs(joined, min_area=height * height // 1000):
        if not (0.08 < blob.height / height < 0.8 and 1.7 < blob.height / blob.width < 6):
            continue
        rows = bare[blob.top : blob.bottom, blob.left : blob.right].sum(axis=1)
        part = max(1, blob.height // 8)
        head, body = rows[:part].max(), rows[part:].max()
        count += bool(head <= 0.7 * body and 0.2 < rows.sum() / (blob.width * blob.height) < 0.7)
    return count


def _squares(hsv: Hsv) -> int:
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    magenta = (hue >= 204) & (hue <= 222) & (saturation >= 190) & (value >= 150)  # 287 to 312 degrees
    squares = [blob for blob in blobs(magenta, min_area=9) if blob.fill > 0.75]
    return sum(0.6 < blob.width / blob.height < 1.7 for blob in squares)
