"""From pictures to the tensors that models take, and from their numbers to vectors.

Scaling is torch's for bytes: within one level of 255 of Pillow's with the same filter, five to ten times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from streamapp.engines.base import unit
from streamapp.engines.weights import ModelsError
from streamapp.media.image import Picture

MOST_SMALLER = 64  # times that a side is scaled with all of its pixels; photographs of 50 megapixels are at 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a model wants its pictures: side x side pixels, then (value / 255 - mean) / std for each channel.

    squash: both sides scaled to `side`; else the middle square of the picture, which open_clip calls `shortest`.
    """

    side: int
    squash: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def batch(self, pictures: Sequence[Picture], device: Any, dtype: Any) -> Any:
        """(pictures, 3, side, side), ready for the model."""
        fitted = torch.stack([self._one(picture) for picture in pictures]).to(device)
        mean, std = (
            torch.tensor(values, device=device, dtype=torch.float32).mul(255).view(1, 3, 1, 1)
            for values in (self.mean, self.std)
        )
        return fitted.float().sub_(mean).div_(std).to(dtype)

    def _one(self, picture: Picture) -> Any:
        pixels = picture.pixels
        if not self.squash:  # before scaling and not after: a very long picture would become a very large one
            height, width = pixels.shape[:2]
            short = min(height, width)
            top, left = (height - short) // 2, (width - short) // 2
            pixels = pixels[top : top + short, left : left + short]
        return scaled(pixels, (self.side, self.side), "bicubic")


def scaled(pixels: NDArray[np.uint8], size: tuple[int, int], filter: str) -> Any:  # noqa: A002 - Pillow's word
    """The pixels (height, width, 3) as a tensor of bytes (3, *size), size = (height, width).

    filter: bicubic or bilinear, widened when it makes smaller, like Pillow's.
    """
    # A picture of one row of fifty million pixels would need a gigabyte of filter; every second or third tells as much.
    down, across = (max(1, have // (MOST_SMALLER * want)) for have, want in zip(pixels.shape, size, strict=False))
    pixels = pixels[::down, ::across]
    # DLPack and not from_numpy, which warns of every read-only array.
    tensor = torch.from_dlpack(pixels).permute(2, 0, 1).unsqueeze(0)
    return interpolate(tensor, size=size, mode=filter, antialias=True).squeeze(0)


def vectors(tensor: Any, *, model: str) -> list[bytes]:
    """Each row as a vector of length 1, float32. Raises ValueError where a row is not finite or 0."""
    rows = numbers(tensor, model=model)
    if not (rows**2).sum(axis=1).all():
        raise ValueError(f"{model} gave a vector of zeros")
    return [unit(row) for row in rows]


def numbers(tensor: Any, *, model: str) -> NDArray[np.float64]:
    """The values of a model's answer, in full precision. Raises ValueError where one is not finite."""
    values = np.asarray(tensor.float().cpu().numpy(), np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{model} gave something that is not a number")
    return values


def check_finite(module: Any, *, file: object) -> None:
    """Raises ModelsError where a weight is not a finite number: whatever such a model says means nothing."""
    for name, values in module.state_dict().items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise ModelsError(f"{file}: weights {name} hold values that are not finite numbers")


def brief(error: Exception) -> str:
    """What a library says is wrong, in one line of at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
