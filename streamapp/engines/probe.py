"""Does a loaded model work? Two drawn pictures must give two answers of the right form, and the same one twice.

That catches weights that are damaged, or of another model, and a model that ignores its input. It does not tell
whether answers are good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from streamapp.engines.texts import EmbedsTexts
from streamapp.insights import FaceDetection
from streamapp.media.image import Picture
from streamapp.settings import Settings

SIZE = (320, 320)
ALIKE = 0.9999  # cosine from which vectors of two pictures are those of a model that does not look: such ones have 1


class ProbeError(Exception):
    """The model does not work. One line."""


def probe(name: str, part: Any, settings: Settings) -> str:
    """What a part of the engine answered, in a few words. Raises ProbeError, and whatever the model raises."""
    return _PROBES[name](part, settings)


def _clip(vision: Any, settings: Settings) -> str:
    def see(pictures: Sequence[Picture]) -> list[Any]:
        return [sight.image_embedding.vector for sight in vision.see(pictures)]

    _vectors(_answers(see, [shore(), board()]), width=settings.image_embedding_dim, of="pictures")
    if isinstance(vision, EmbedsTexts):
        _vectors(vision.embed_texts(["a beach", "a chessboard"]), width=settings.image_embedding_dim, of="texts")
    (sight,) = vision.see([shore()])
    tags = ", ".join(tag.name for tag in sight.tagging.tags)
    return f"vectors of {settings.image_embedding_dim}, tags {tags or 'none'}"


def _blip(captioner: Any, settings: Settings) -> str:
    def caption(pictures: Sequence[Picture]) -> list[str]:
        return [told.caption for told in captioner.caption(pictures)]

    captions = _answers(caption, [shore(), board()])
    if not all(each.strip() for each in captions):
        raise ProbeError("a caption is empty")
    if captions[0] == captions[1]:
        raise ProbeError(f"two pictures have one caption: {captions[0]!r}")
    return f"“{captions[0]}”"


def _facenet(finder: Any, settings: Settings) -> str:
    def vectors(pictures: Sequence[Picture]) -> list[bytes]:
        found: list[FaceDetection] = finder.faces(pictures)
        if [len(each.faces) for each in found] != [1] * len(pictures):
            raise ProbeError(f"found {[len(each.faces) for each in found]} faces where one each is drawn")
        embedded = [each.faces[0].embedding for each in found]
        if None in embedded:
            raise ProbeError("a face has no vector")
        return [raw for raw in embedded if raw is not None]

    _vectors(_answers(vectors, [face(pale=True), face(pale=False)]), width=settings.face_embedding_dim, of="faces")
    if finder.faces([board()])[0].faces:
        raise ProbeError("found a face on a chessboard")
    return f"vectors of {settings.face_embedding_dim}, one face found where one is drawn"


_PROBES: dict[str, Callable[[Any, Settings], str]] = {"clip": _clip, "blip": _blip, "facenet": _facenet}


def _answers(ask: Callable[[Sequence[Picture]], list[Any]], pictures: list[Picture]) -> list[Any]:
    """The answers, which must be the same when the same is asked again."""
    first = ask(pictures)
    if len(first) != len(pictures):
        raise ProbeError(f"{len(first)} answers to {len(pictures)} pictures")
    if ask(pictures) != first:
        raise ProbeError("the same pictures have other answers the second time")
    return first


def _vectors(raws: Sequence[bytes], *, width: int, of: str) -> None:
    vectors = [np.frombuffer(raw, "<f4") for raw in raws]
    for vector in vectors:
        if vector.shape != (width,):
            raise ProbeError(f"vectors of {of} have {len(vector)} numbers, not the {width} of the settings")
        if not abs(float(np.linalg.norm(vector)) - 1) < 1e-3:  # also what is no number
            raise ProbeError(f"a vector of {of} has length {float(np.linalg.norm(vector)):.3f}, not 1")
    for one, other in pairwise(vectors):
        if (cosine := float(one @ other)) > ALIKE:
            raise ProbeError(f"two different {of} have the same vector (cosine {cosine:.6f})")


def shore() -> Picture:
    """A sun above the sea above sand."""
    image = Image.new("RGB", SIZE, (120, 190, 240))
    pen = ImageDraw.Draw(image)
    pen.ellipse((220, 30, 280, 90), fill=(255, 225, 90))
    pen.rectangle((0, 150, 320, 230), fill=(25, 95, 160))
    pen.rectangle((0, 230, 320, 320), fill=(232, 205, 150))
    return _picture(image)


def board() -> Picture:
    """A chessboard."""
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    for square in range(64):
        x, y = square % 8, square // 8
        if (x + y) % 2:
            pen.rectangle((40 * x, 40 * y, 40 * x + 39, 40 * y + 39), fill="black")
    return _picture(image)


def face(*, pale: bool) -> Picture:
    """A head with shoulders, enough of one for a detector that has learned from photographs (MTCNN: p > 0.999)."""
    skin, hair = ((224, 180, 150), (60, 40, 30)) if pale else ((150, 105, 80), (20, 20, 20))
    shade = tuple(value * 11 // 20 for value in skin)
    image = Image.new("RGB", SIZE, (110, 130, 150))
    pen = ImageDraw.Draw(image)
    x, y, half, tall = 160, 165, 70 if pale else 80, 95  # the middle of the head, and how far it goes from there
    pen.rectangle((x - 30, y + 60, x + 30, 320), fill=tuple(value * 17 // 20 for value in skin))
    pen.ellipse((x - 150, y + 120, x + 150, y + 320), fill=(40, 60, 110))
    pen.ellipse((x - half - 10, y - tall - 15, x + half + 10, y + 28), fill=hair)
    pen.ellipse((x - half, y - tall, x + half, y + tall), fill=skin)
    for eye in (x - 30, x + 30):
        pen.ellipse((eye - 16, y - 28, eye + 16, y - 12), fill=(240, 240, 240))
        pen.ellipse((eye - 7, y - 28, eye + 7, y - 12), fill=(40, 30, 20))
        pen.arc((eye - 20, y - 48, eye + 20, y - 25), 200, 340, fill=hair, width=6)
        pen.arc((eye - 17, y - 31, eye + 17, y - 8), 190, 350, fill=shade, width=3)
    pen.polygon([(x - 4, y - 15), (x - 14, y + 18), (x + 14, y + 18), (x + 4, y - 15)], fill=shade)
    pen.ellipse((x - 26, y + 38, x + 26, y + 54), fill=(170, 70, 70))
    pen.line((x - 26, y + 46, x + 26, y + 46), fill=(100, 30, 30), width=3)
    return _picture(image)


def _picture(image: Image.Image) -> Picture:
    pixels = np.asarray(image)
    return Picture(pixels=pixels, digest="")
