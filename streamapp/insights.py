"""What engines say of an image, by service. Vectors are little-endian float32 bytes (base64 in JSON)."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

Service: TypeAlias = Literal[
    "moderation", "tagging", "scene_recognition", "image_captioning", "image_embedding", "face_detection"
]
SERVICES: tuple[Service, ...] = get_args(Service)

Kind: TypeAlias = Literal["vision", "captions", "faces"]
KINDS: dict[Kind, tuple[Service, ...]] = {
    "vision": ("moderation", "tagging", "scene_recognition", "image_embedding"),
    "captions": ("image_captioning",),
    "faces": ("face_detection",),
}
"""Which services one look at an image answers together: one task, one topic, one agent."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything that travels."""


class Label(msgspec.Struct, frozen=True, array_like=True):
    """A word and how sure the engine is of it, 0..1."""

    name: str
    score: float


class Face(Record, frozen=True):
    """A face in the upright image: box in its pixels, the vector None where it could not be embedded."""

    bbox: tuple[int, int, int, int]  # x, y, width, height
    confidence: float
    quality: float | None = None
    embedding: bytes | None = None


class Moderation(Record, tag_field="service", tag="moderation", frozen=True):
    is_safe: bool
    confidence: float  # how sure of is_safe, 0..1
    scores: tuple[Label, ...] = ()


class Tagging(Record, tag_field="service", tag="tagging", frozen=True):
    tags: tuple[Label, ...]


class SceneRecognition(Record, tag_field="service", tag="scene_recognition", frozen=True):
    scenes: tuple[Label, ...]
    colors: tuple[str, ...] = ()  # "#RRGGBB", most frequent first


class ImageCaptioning(Record, tag_field="service", tag="image_captioning", frozen=True):
    caption: str


class ImageEmbedding(Record, tag_field="service", tag="image_embedding", frozen=True):
    vector: bytes


class FaceDetection(Record, tag_field="service", tag="face_detection", frozen=True):
    width: int  # of the image the boxes are in
    height: int
    faces: tuple[Face, ...] = ()


Insight: TypeAlias = Moderation | Tagging | SceneRecognition | ImageCaptioning | ImageEmbedding | FaceDetection


def service_of(insight: Insight) -> Service:
    """The service that gives this kind of answer."""
    tag = insight.__struct_config__.tag
    assert tag in SERVICES
    return tag
