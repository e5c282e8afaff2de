"""The values of a row: a pure function of a part of a change and of the backend's rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import orjson

from streamapp.events import (
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    MediaChanged,
    MediaView,
    Moderation,
    PostChanged,
    SceneRecognition,
    Tagging,
)
from streamapp.sinks.parts import Part, Refused

Values: TypeAlias = dict[str, Any]
BackendRow: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Awaited:
    """The row of the backend that is not there yet: the name of its table."""

    table: str


@dataclass(slots=True)
class Batch:
    """Parts, sorted by what can be done with them. `settled` await nothing any more."""

    rows: dict[str, list[Values]] = field(default_factory=dict)  # by table
    settled: list[Part] = field(default_factory=list)
    awaiting: list[tuple[Part, str]] = field(default_factory=list)  # the backend's table that lacks a row
    refused: list[tuple[Part, str]] = field(default_factory=list)  # the reason


def sort(
    parts: Iterable[Part], posts: Mapping[int, BackendRow], media: Mapping[int, BackendRow], *, width: int
) -> Batch:
    """Make the rows. `posts` and `media` are rows of the queries of these names, by id; all posts are there."""
    batch = Batch()
    for part in parts:
        post, medium = posts[part.post_id], media.get(part.pk)
        if _gone(part, post) or (medium is not None and _gone(part, medium)):
            batch.settled.append(part)
            continue
        made = row(part, post, medium, width=width)
        if isinstance(made, Awaited):
            batch.awaiting.append((part, made.table))
        elif isinstance(made, Refused):
            batch.refused.append((part, made.reason))
        else:
            batch.settled.append(part)
            batch.rows.setdefault(part.table, []).append(made)
    return batch


def _gone(part: Part, deleted: BackendRow) -> bool:
    return deleted["deleted"] is not None and part.revision <= deleted["deleted"]


def row(part: Part, post: BackendRow, media: BackendRow | None, *, width: int) -> Values | Awaited | Refused:
    """The values of our columns. `post` is a row of the query `posts`, `media` of the query `media`; `width` that of
    image vectors."""
    if post["user_id"] is None:
        return Awaited("posts")
    if post["username"] is None:
        return Awaited("users")
    if isinstance(part.record, PostChanged):
        return _post_row(part.record, part, post)
    if media is None or media["post_id"] is None:
        return Awaited("post_media")
    if media["post_id"] != part.post_id:
        return Refused(f"media {part.pk} belongs to post {media['post_id']}, not to {part.post_id}")
    return _media_row(part.record, part, post, media, width)


def _media_row(change: MediaChanged, part: Part, post: BackendRow, media: BackendRow, width: int) -> Values | Refused:
    view = change.media
    values: Values = {
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
        "ai_status": ai_status(view),
        "is_safe": False,  # until moderated
        "ai_confidence_scores": _scores(view),
        "detected_face_count": 0,
        "unidentified_face_count": 0,
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
    for insight in view.insights:
        match insight:
            case Moderation():
                values["is_safe"] = insight.is_safe
            case Tagging():
                values["ai_tags"] = [label.name for label in insight.tags]
            case SceneRecognition():
                values["ai_scenes"] = [label.name for label in insight.scenes]
                values["dominant_colors"] = insight.colors
            case ImageCaptioning():
                values["ai_caption"] = insight.caption
            case ImageEmbedding():
                vector = vector_text(insight.vector, width)
                if isinstance(vector, Refused):
                    return vector
                values["image_embedding"] = vector
            case FaceDetection():
                values["detected_face_count"] = values["unidentified_face_count"] = len(insight.faces)
    return values


def _post_row(change: PostChanged, part: Part, post: BackendRow) -> Values:
    summary = change.summary
    return {
        "post_id": part.pk,
        "author_id": post["user_id"],
        "author_username": post["username"],
        "author_full_name": post["full_name"],
        "author_department": post["department"],
        "title": post["title"],
        "body": post["body"],
        "total_media": summary.media_count,
        "total_images": summary.media_count,  # what is not an image is never looked at
        "all_ai_tags": summary.all_tags,
        "all_ai_scenes": summary.all_scenes,
        "has_unsafe_media": summary.has_unsafe_media,
        "inferred_event_type": summary.event_type,
        "inferred_tags": summary.inferred_tags,
        "status": post["status"],
        "visibility": post["visibility"],
        "created_at": post["created_at"],
        "revision": part.revision,
    }


def ai_status(view: MediaView) -> str:
    """PROCESSING while an answer is awaited, then FAILED when a service failed for good, else COMPLETED."""
    if set(view.missing) - set(view.failed):
        return "PROCESSING"
    return "FAILED" if view.failed else "COMPLETED"


def _scores(view: MediaView) -> dict[str, float]:
    scores: dict[str, float] = {}
    for insight in view.insights:
        labels = (
            insight.tags
            if isinstance(insight, Tagging)
            else insight.scenes
            if isinstance(insight, SceneRecognition)
            else ()
        )
        for label in labels:
            scores[label.name] = max(label.score, scores.get(label.name, 0.0))
    return scores


def vector_text(raw: bytes, width: int) -> str | Refused:
    """Little-endian float32 bytes as pgvector's text, which gives the same bits back.

    Refused: another width, NaN, and what has no direction in float32 (a zero vector, or one whose squares sum to
    zero or infinity), because a cosine index can not take it.
    """
    if len(raw) != 4 * width:
        return Refused(f"the image vector has {len(raw)} bytes, {width} float32 have {4 * width}")
    vector = np.frombuffer(raw, "<f4")
    with np.errstate(all="ignore"):
        norm = float(np.dot(vector, vector))
    if not 0 < norm < float("inf"):
        return Refused(f"the image vector has no direction: its squares sum to {norm}")
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()
