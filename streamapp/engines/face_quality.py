"""How good a picture of a face is, for telling who it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ENOUGH_SIDE = 80  # pixels: half of what the embedder sees; a smaller face is blown up more than twofold
SHARP = 100.0  # variance of the Laplacian from which a picture counts as sharp, the usual threshold for levels 0..255


def quality(*, confidence: float, side: float, crop: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> float:
    """0..1: how sure the detector is, times the worst of size, sharpness and pose. One bad property spoils a face.

    side: the shorter of the face's box, pixels of the picture. crop: (height, width, 3) what the embedder sees.
    landmarks: (5, 2) left eye, right eye, nose, mouth's left and right corner, pixels.
    """
    worst = min(side / ENOUGH_SIDE, sharpness(crop), frontality(landmarks), 1.0)
    return round(max(confidence * worst, 0.0), 4)


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the grey levels, as a part of SHARP; above 1 is sharp."""
    grey = crop.astype(np.float64) @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * middle).var() / SHARP)


def frontality(landmarks: NDArray[np.float64]) -> float:
    """1 where the nose is in the middle between the eyes, 0 where it is beside one of them: in profile, or nonsense."""
    left, right, nose = landmarks[:3]
    across = right - left
    distance = float(across @ across)
    if distance <= 0:
        return 0.0
    along = float((nose - left) @ across) / distance  # 0 at the left eye, 1 at the right
    return max(0.0, 1 - abs(2 * along - 1))
