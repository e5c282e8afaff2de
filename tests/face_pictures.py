"""Pictures of faces that engine `pixel` tells apart: of hats that nobody in the samples wears, so that who is known in
one test is nobody in another."""

from __future__ import annotations

import itertools
from pathlib import Path

from PIL import Image

import samples
from streamapp.engines.marker import HEIGHT, IDENTITIES, SKINS, Identity, draw

SPACE = 120  # pixels from one face to the next
COLUMNS = 5


_hats = itertools.filterfalse(lambda hat: hat in samples.HATS.values(), iter(IDENTITIES))


def new_hat() -> Identity:
    """A hat that nobody wears, in this run either."""
    return next(_hats)


def put(path: Path, *worn: Identity, width: float = 64) -> None:
    """A picture of faces in rows. width: of a head, pixels."""
    space = max(SPACE, round(1.9 * width))
    rows = -(-len(worn) // COLUMNS)
    image = Image.new(
        "RGB", (space * min(len(worn), COLUMNS) or space, round(space * HEIGHT) * max(rows, 1)), (88, 120, 132)
    )
    for n, hat in enumerate(worn):
        left, top = space * (n % COLUMNS) + space // 4, round(space * HEIGHT) * (n // COLUMNS) + space // 5
        draw(image, left=left, top=top, width=width, hat=hat, skin=SKINS[n % len(SKINS)])
    image.save(path, quality=95)
