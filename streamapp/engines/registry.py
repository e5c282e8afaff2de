"""The engine that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from streamapp.engines.base import Engine, FaceFinder, Vision
from streamapp.engines.pixel import Pixel
from streamapp.engines.weights import (
    EXTRA,
    MODELS,
    ModelsError,
    Weights,
    WeightsError,
    find,
    first_line,
    require_extra,
)
from streamapp.settings import Settings

logger = logging.getLogger(__name__)


def load(settings: Settings) -> Engine:
    """A ready engine, all of it. Raises ModelsError where packages or weights are missing or wrong."""
    if settings.engine == "pixel":
        pixel = _pixel(settings)
        return Engine(vision=pixel, captioner=pixel, faces=pixel)
    require_extra()
    weights = {name: find(settings.models_dir, name) for name in MODELS}  # all, before time goes into loading one
    return Engine(
        vision=part(settings, "clip", weights["clip"]),
        captioner=part(settings, "blip", weights["blip"]),
        faces=part(settings, "facenet", weights["facenet"]),
    )


def load_vision(settings: Settings) -> Vision:
    """Only the part that a search needs. Raises ModelsError."""
    if settings.engine == "pixel":
        return _pixel(settings)
    require_extra()
    vision: Vision = part(settings, "clip", find(settings.models_dir, "clip"))
    return vision


def load_faces(settings: Settings) -> FaceFinder:
    """Only the part that finds faces. Raises ModelsError."""
    if settings.engine == "pixel":
        return _pixel(settings)
    require_extra()
    faces: FaceFinder = part(settings, "facenet", find(settings.models_dir, "facenet"))
    return faces


def _pixel(settings: Settings) -> Pixel:
    return Pixel(
        image_dim=settings.image_embedding_dim, face_dim=settings.face_embedding_dim, max_faces=settings.max_faces
    )


def loaders() -> Mapping[str, Callable[[Settings, Weights], Any]]:
    """What loads each model. Imported here and nowhere else: without the packages everything else works.

    Raises ModelsError.
    """
    try:
        from streamapp.engines import blip, clip, facenet
    except (ImportError, RuntimeError) as error:  # a torch and a torchvision of two builds raise RuntimeError
        logger.debug("the packages of the models cannot be imported", exc_info=True)
        raise ModelsError(f"the packages of the models cannot be imported ({first_line(error)}): {EXTRA}") from error
    return {"clip": clip.load, "blip": blip.load, "facenet": facenet.load}


def part(settings: Settings, name: str, weights: Weights) -> Any:
    """One model, ready. Raises ModelsError: with the variable where a setting is wrong, else with what helps."""
    load_it = loaders()[name]
    try:
        return load_it(settings, weights)
    except WeightsError:
        raise
    except ModelsError as error:
        if "STREAMAPP_" in str(error):
            raise
        raise WeightsError(f"{error}; {_replaced(weights, name)}") from error
    except Exception as error:  # of several libraries, each with its own kinds
        logger.debug("%s cannot be loaded", weights.path, exc_info=True)
        raise WeightsError(
            f"{weights.file} cannot be loaded: {first_line(error)}; {_replaced(weights, name)}"
        ) from error


def _replaced(weights: Weights, name: str) -> str:
    """Such weights are whole, or they had not come so far: a pull would keep them."""
    return f"move {weights.path} away, then `streamapp models pull {name}`"
