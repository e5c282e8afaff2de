"""Names of colours, for a consumer that wants "blue" and not "#004E89"."""

from __future__ import annotations

import re

# Anchors in RGB. Nearest in plain RGB is crude but fixed and explainable, and nothing else depends on it.
NAMES = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (220, 20, 30),
    "orange": (255, 130, 30),
    "yellow": (250, 220, 50),
    "green": (40, 140, 60),
    "cyan": (60, 200, 220),
    "blue": (30, 80, 200),
    "purple": (120, 40, 160),
    "pink": (250, 150, 190),
    "brown": (120, 75, 40),
    "beige": (225, 205, 165),
}


def color_name(color: str) -> str:
    """The name nearest to "#RRGGBB"; another text is a name already."""
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", color):
        return color
    rgb = bytes.fromhex(color[1:])
    return min(NAMES, key=lambda name: sum((a - b) ** 2 for a, b in zip(rgb, NAMES[name], strict=True)))
