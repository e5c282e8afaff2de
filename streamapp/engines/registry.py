"""The engine that the settings name."""

from __future__ import annotations

from streamapp.engines.base import Engine
from streamapp.engines.pixel import Pixel
from streamapp.settings import Settings


def load(settings: Settings) -> Engine:
    """A ready engine."""
    return Pixel(
        image_dim=settings.image_embedding_dim,
        face_dim=settings.face_embedding_dim,
        max_faces=settings.max_faces,
    )
