"""The rows of one media: pure functions of what is known of it and of the backend's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from streamapp.events import MediaView
from streamapp.ids import face_id
from streamapp.insights import (
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Label,
    Moderation,
    SceneRecognition,
    Tagging,
)
from streamapp.sinks.parts import Part, Refused
from streamapp.sinks.people import People, detected, identified, matches, searched
from streamapp.sinks.readmodels import DETECTED_FACES, FACE_SEARCH, MEDIA_INSIGHTS, MEDIA_SEARCH, RECOMMENDATIONS
from streamapp.sinks.vectors import vector_text

Values: TypeAlias = dict[str, Any]
BackendRow: TypeAlias = Mapping[str, Any]


@dataclass(slots=True)
class MediaRows:
    """The rows by table; `faceless` says which faces can have none, because they have no usable vector, and `unfit`
    which values the rows go without."""

    rows: dict[str, list[Values]]
    faceless: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Known:
    """What the services said. None is what is not known; what nobody has moderated is not safe."""

    safe: bool = False
    unsafe: bool = False
    caption: str | None = None
    tags: list[str] | None = None
    scenes: list[str] | None = None
    colors: tuple[str, ...] | None = None
    vector: bytes | None = None
    faces: tuple[Face, ...] | None = None
    scores: dict[str, float] = field(default_factory=dict)


def media_rows(
    view: MediaView,
    part: Part,
    post: BackendRow,
    media: BackendRow,
    *,
    width: int,
    face_width: int,
    people: People = MappingProxyType({}),
) -> MediaRows:
    """All rows of a media. `width` and `face_width` are those of image and face vectors."""
    known = _known(view)
    faces, found = known.faces or (), matches(view, people)
    embedding, unfit = None, list[str]()
    if known.vector is not None:
        text = vector_text(known.vector, width)
        if isinstance(text, Refused):  # what else is known of the media is as good as with it
            unfit.append(text.reason)
        else:
            embedding = text
    status = ai_status(view)
    rows: dict[str, list[Values]] = {
        MEDIA_SEARCH: [
            {
                "media_id": part.pk,
                "post_id": part.post_id,
                "post_title": post["title"],
                "post_body": post["body"],
                "media_position": media["position"] if view.position is None else view.position,
                "media_url": media["media_url"],
                "media_type": media["media_type"],
                "thumbnail_url": media["thumbnail_url"],
                "width": media["width"],
                "height": media["height"],
                "ai_status": status,
                "is_safe": known.safe,
                "ai_caption": known.caption,
                "ai_tags": known.tags,
                "ai_scenes": known.scenes,
                "ai_confidence_scores": known.scores,
                "image_embedding": embedding,
                "dominant_colors": known.colors,
                "detected_face_count": len(faces),
                **identified(known.faces, found, people),
                "uploader_id": post["user_id"],
                "uploader_username": post["username"],
                "uploader_full_name": post["full_name"],
                "uploader_profile_pic": post["profile_picture_url"],
                "uploader_department": post["department"],
                "uploader_designation": post["designation"],
                "visibility": post["visibility"],
                "post_status": post["status"],
                "created_at": media["created_at"],
                "revision": part.revision,
            }
        ],
        MEDIA_INSIGHTS: [
            {
                "media_id": part.pk,
                "post_id": part.post_id,
                "status": "UNSAFE" if known.unsafe else status,
                "is_safe": known.safe,
                "caption": known.caption,
                "tags": known.tags,
                "scenes": known.scenes,
                "image_embedding": embedding,
                "revision": part.revision,
            }
        ],
        DETECTED_FACES: [],
        FACE_SEARCH: [],
        RECOMMENDATIONS: [],
    }
    if known.safe and embedding is not None:
        rows[RECOMMENDATIONS].append(
            {
                "media_id": part.pk,
                "image_embedding": embedding,
                "media_url": media["media_url"],
                "thumbnail_url": media["thumbnail_url"],
                "post_id": part.post_id,
                "caption": known.caption,
                "is_safe": True,
                "created_at": media["created_at"],
                "revision": part.revision,
            }
        )
    faceless = []
    for index, face in enumerate(faces):
        one = face_id(view.media_id, view.generation, index)
        vector = vector_text(face.embedding or b"", face_width, what="face")
        if isinstance(vector, Refused):  # the columns are NOT NULL; the face is counted all the same
            faceless.append(f"{one}: {vector.reason}")
            continue
        rows[DETECTED_FACES].append(
            {
                "face_id": one,
                "media_id": part.pk,
                "bbox": face.bbox,
                "embedding": vector,
                **detected(found.get(index)),
                "revision": part.revision,
            }
        )
        rows[FACE_SEARCH].append(
            {
                "face_id": one,
                "media_id": part.pk,
                "post_id": part.post_id,
                "bbox": face.bbox,
                "confidence": face.confidence,
                "face_embedding": vector,
                **searched(found.get(index), people),
                "uploader_id": post["user_id"],
                "post_title": post["title"],
                "media_caption": known.caption,
                "media_url": media["media_url"],
                "created_at": media["created_at"],
                "revision": part.revision,
            }
        )
    return MediaRows(rows, faceless, unfit)


def ai_status(view: MediaView) -> str:
    """PROCESSING while an answer is awaited, then FAILED when a service failed for good, else COMPLETED."""
    if set(view.missing) - set(view.failed):
        return "PROCESSING"
    return "FAILED" if view.failed else "COMPLETED"


def _known(view: MediaView) -> _Known:
    known = _Known()
    for insight in view.insights:
        match insight:
            case Moderation():
                known.safe, known.unsafe = insight.is_safe, not insight.is_safe
            case Tagging():
                known.tags = [label.name for label in insight.tags]
            case SceneRecognition():
                known.scenes = [label.name for label in insight.scenes]
                known.colors = insight.colors
            case ImageCaptioning():
                known.caption = insight.caption
            case ImageEmbedding():
                known.vector = insight.vector
            case FaceDetection():
                known.faces = insight.faces
        for label in _labels(insight):
            known.scores[label.name] = max(label.score, known.scores.get(label.name, 0.0))
    if view.unsafe:
        known.safe, known.unsafe = False, True
    return known


def _labels(insight: Insight) -> tuple[Label, ...]:
    """What names things in the image."""
    match insight:
        case Tagging():
            return insight.tags
        case SceneRecognition():
            return insight.scenes
    return ()
