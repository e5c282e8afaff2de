"""Connected regions of a mask, with numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Blob:
    """A region connected over edges, not corners: its box [left, right) x [top, bottom) and number of pixels."""

    left: int
    top: int
    right: int
    bottom: int
    area: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def fill(self) -> float:
        """Part of the box that is in the region, 0..1."""
        return self.area / (self.width * self.height)


def blobs(mask: Mask, *, min_area: int = 1) -> list[Blob]:
    """The regions of at least min_area pixels, by top, then left. mask: (height, width).

    Works on runs (stretches of a row) instead of pixels: runs of neighbouring rows that overlap belong together.
    """
    width = mask.shape[1]
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    # With keys that grow along the rows, what overlaps a run in the row above is found by two binary searches.
    stride = width + 1
    low = np.searchsorted(row * stride + end, (row - 1) * stride + start, side="right")
    high = np.searchsorted(row * stride + start, (row - 1) * stride + end, side="left")
    parent = list(range(len(row)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    for run, (first, last) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        for above in range(first, last):
            a, b = root(above), root(run)
            parent[max(a, b)] = min(a, b)
    if not parent:
        return []
    label = np.array([root(run) for run in range(len(parent))])
    order = np.argsort(label, kind="stable")
    firsts = np.flatnonzero(np.diff(label[order], prepend=-1))
    left, right = np.minimum.reduceat(start[order], firsts), np.maximum.reduceat(end[order], firsts)
    top, bottom = np.minimum.reduceat(row[order], firsts), np.maximum.reduceat(row[order], firsts) + 1
    area = np.add.reduceat((end - start)[order], firsts)
    found = zip(left.tolist(), top.tolist(), right.tolist(), bottom.tolist(), area.tolist(), strict=True)
    return sorted((Blob(*blob) for blob in found if blob[4] >= min_area), key=lambda blob: (blob.top, blob.left))
