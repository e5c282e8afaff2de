"""Where faces are: MTCNN, whose weights come inside facenet-pytorch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from streamapp.engines.tensors import scaled
from streamapp.media.image import Picture

AT_ONCE = 8 * 1280 * 960  # pixels that are searched together; some 50 bytes each
SCALE = 12.0  # pixels of a face in the smallest of MTCNN's networks; faces are searched for at multiples of it
Size: TypeAlias = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """A face, in `pixels` of its picture. box: left, top, right, bottom as the detector has them, which may be outside;
    within: the same in whole pixels, none outside. landmarks: (5, 2) eyes, nose, corners of the mouth."""

    box: tuple[float, float, float, float]
    within: tuple[int, int, int, int]
    confidence: float
    landmarks: NDArray[np.float64]


class Finder:
    """Finds faces; see FaceNet for the parameters."""

    def __init__(self, *, smallest: int, side: int, limit: int, device: Any) -> None:
        self._smallest, self._side, self._limit = smallest, side, limit
        self._net = MTCNN(min_face_size=smallest, select_largest=False, keep_all=True, device=device)
        self._net.requires_grad_(False).to(memory_format=torch.channels_last)

    def find(self, pictures: Sequence[Picture]) -> list[list[Found]]:
        """The faces of each picture: the surest first, then by top and left."""
        every: list[list[Found]] = [[] for _ in pictures]
        sizes: defaultdict[Size, list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            sizes[self._searched(picture)].append(index)
        for size, indices in sizes.items():
            if min(size) * (SCALE / self._smallest) < SCALE:  # as MTCNN computes: no scale to look at, and it raises
                continue
            count = max(1, AT_ONCE // (size[0] * size[1]))  # MTCNN takes pictures of one size only
            for start in range(0, len(indices), count):
                some = indices[start : start + count]
                for index, found in zip(some, self._search([pictures[i] for i in some], size), strict=True):
                    every[index] = found
        return every

    def _searched(self, picture: Picture) -> Size:
        shrink = max(1.0, max(picture.width, picture.height) / self._side)
        return max(1, round(picture.height / shrink)), max(1, round(picture.width / shrink))

    def _search(self, pictures: Sequence[Picture], size: Size) -> Iterator[list[Found]]:
        # Scaling is faster with each channel by itself, convolutions with a pixel's together: a third less time.
        images = torch.stack([_in_size(picture, size) for picture in pictures]).permute(0, 2, 3, 1)
        with torch.inference_mode():
            answers = self._net.detect(images, landmarks=True)
        for picture, *answer in zip(pictures, *answers, strict=True):
            # Confidences near 1 differ by rounding only, and in another batch by another: four decimals are an order.
            faces = sorted(_found(picture, size, *answer), key=lambda f: (-f.confidence, f.within[1], f.within[0]))
            yield faces[: self._limit]


def _in_size(picture: Picture, size: Size) -> Any:
    """(3, height, width) bytes, one channel after the other."""
    if size == (picture.height, picture.width):
        return torch.from_dlpack(picture.pixels).permute(2, 0, 1).contiguous()
    return scaled(picture.pixels, size, "bilinear").contiguous()


def _found(picture: Picture, size: Size, boxes: Any, confidences: Any, landmarks: Any) -> Iterator[Found]:
    """What MTCNN says of one picture, in the picture's pixels. boxes: None where there is no face."""
    grown = np.array([picture.width / size[1], picture.height / size[0]])
    for box, confidence, points in () if boxes is None else zip(boxes, confidences, landmarks, strict=True):
        left, top, right, bottom = (np.asarray(box, np.float64).reshape(2, 2) * grown).ravel().tolist()
        within = (*_clipped(left, top, picture), *_clipped(right, bottom, picture))
        if within[0] < within[2] and within[1] < within[3]:
            yield Found(
                box=(left, top, right, bottom),
                within=within,
                confidence=round(float(confidence), 4),
                landmarks=np.asarray(points, np.float64) * grown,
            )


def _clipped(x: float, y: float, picture: Picture) -> tuple[int, int]:
    return min(max(round(x), 0), picture.width), min(max(round(y), 0), picture.height)
