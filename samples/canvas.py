"""A canvas to draw smooth pictures on: everything is drawn SCALE times larger and reduced at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from streamapp.engines import marker
from streamapp.engines.marker import Color, Identity

SCALE = 3
Point = tuple[float, float]


class Canvas:
    """width x height in the pixels of the finished image; so are all coordinates."""

    def __init__(self, width: int, height: int, background: Color = (255, 255, 255)) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * SCALE, height * SCALE), background)

    def finish(self) -> Image.Image:
        return self._image.resize((self.width, self.height), Image.Resampling.LANCZOS)

    def gradient(self, top: float, bottom: float, *colors: Color) -> None:
        """Fill the rows from top to bottom, changing evenly from color to color."""
        rows = range(round(top * SCALE), round(bottom * SCALE))
        stops = np.linspace(0, 1, len(colors))
        at = np.linspace(0, 1, len(rows))
        ramp = np.stack([np.interp(at, stops, [color[i] for color in colors]) for i in range(3)], axis=1)
        pixels = np.repeat(ramp[:, None, :].round().astype(np.uint8), self._image.width, axis=1)
        self._image.paste(Image.fromarray(pixels), (0, rows.start))

    def circle(self, x: float, y: float, radius: float, fill: Color) -> None:
        self.ellipse(x, y, radius, radius, fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        self._pen().ellipse(self._box(x - rx, y - ry, x + rx, y + ry), fill=fill)

    def pie(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Color) -> None:
        self._pen().pieslice(self._box(x - rx, y - ry, x + rx, y + ry), start, end, fill=fill)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: Color, radius: float = 0) -> None:
        self._pen().rounded_rectangle(self._box(x0, y0, x1, y1), radius * SCALE, fill=fill)

    def polygon(self, points: Sequence[Point], fill: Color) -> None:
        self._pen().polygon([(x * SCALE, y * SCALE) for x, y in points], fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: Color) -> None:
        """A line with round ends and joints."""
        self._pen().line([(x * SCALE, y * SCALE) for x, y in points], fill, round(width * SCALE), "curve")
        for x, y in points:
            self.circle(x, y, width / 2, fill)

    def below(self, edge: Callable[[float], float], fill: Color) -> None:
        """Fill what is below y = edge(x)."""
        xs = np.linspace(0, self.width, 161).tolist()
        curve: list[Point] = [(x, edge(x)) for x in xs]
        self.polygon([*curve, (self.width, self.height), (0, self.height)], fill)

    def head(self, left: float, top: float, width: float, hat: Identity, skin: Color) -> None:
        """A face marker, width of the head."""
        marker.draw(self._image, left=left * SCALE, top=top * SCALE, width=width * SCALE, hat=hat, skin=skin)

    def _pen(self) -> ImageDraw.ImageDraw:
        return ImageDraw.Draw(self._image)

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return (x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE)
