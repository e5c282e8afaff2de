"""Faces that a model finds. The samples have drawn ones, which are found by engine `pixel` only."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from skimage import data

FACE = (150, 20, 300, 210)  # left, top, right, bottom in the portrait of Eileen Collins: NASA, in the public domain
# Where the two in beach_sunset.jpg have their heads.
HEADS = {"beach_sunset": ((150, 200), (400, 200)), "profile_lena": ((160, 150),), "profile_omar": ((160, 150),)}


def face(height: int = 120) -> Image.Image:
    """The portrait's face."""
    cut = Image.fromarray(data.astronaut()).crop(FACE)
    return cut.resize((round(cut.width * height / cut.height), height))


def put_faces(folder: Path) -> None:
    """Give the samples in a folder a photograph's face for each drawn one."""
    for name, places in HEADS.items():
        with Image.open(folder / f"{name}.jpg") as image:
            for place in places:
                image.paste(face(), place)
            image.save(folder / f"{name}.jpg", quality=92)


def portrait(*, beside: int = 0) -> Image.Image:
    """The portrait, 512 pixels wide, with so many pixels of wall beside it."""
    image = Image.new("RGB", (512 + beside, 512), (90, 110, 130))
    image.paste(Image.fromarray(data.astronaut()), (beside, 0))
    return image
