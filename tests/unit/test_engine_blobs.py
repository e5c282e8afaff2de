"""Connected regions, against a plain search by pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamapp.engines.blobs import Blob, Mask, blobs

masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1]).map(
        lambda cells: np.array(cells, np.bool_).reshape(size)
    )
)


def flooded(mask: Mask) -> list[Blob]:
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    found = []
    while left:
        region, edge = set[tuple[int, int]](), [left.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            for neighbour in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if neighbour in left:
                    left.remove(neighbour)
                    edge.append(neighbour)
        ys, xs = [y for y, _ in region], [x for _, x in region]
        found.append(Blob(min(xs), min(ys), max(xs) + 1, max(ys) + 1, len(region)))
    return sorted(found, key=lambda blob: (blob.top, blob.left, blob.area))


@given(masks)
def test_finds_what_a_flood_finds(mask: Mask) -> None:
    assert sorted(blobs(mask), key=lambda blob: (blob.top, blob.left, blob.area)) == flooded(mask)


@given(masks, st.integers(1, 20))
def test_small_regions_can_be_left_out(mask: Mask, least: int) -> None:
    assert blobs(mask, min_area=least) == [blob for blob in blobs(mask) if blob.area >= least]


def test_corners_do_not_connect() -> None:
    assert len(blobs(np.eye(5, dtype=np.bool_))) == 5


def test_the_ends_of_rows_do_not_connect() -> None:
    mask = np.array([[0, 1], [1, 0]], np.bool_)
    assert [(blob.left, blob.top) for blob in blobs(mask)] == [(1, 0), (0, 1)]


def test_measures() -> None:
    mask = np.zeros((6, 9), np.bool_)
    mask[1:5, 2] = mask[4, 2:8] = True
    (blob,) = blobs(mask)
    assert (blob.left, blob.top, blob.width, blob.height, blob.area) == (2, 1, 6, 4, 9)
    assert blob.fill == 9 / 24
