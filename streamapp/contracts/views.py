"""Results as values by name: all that any dialect says about one, so that a dialect only chooses and names.

What is not known is empty or 0, and never safe; None is what a message leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from streamapp.contracts.colors import color_name
from streamapp.contracts.records import FaceRecognised, ProfileEmbedded, ProfileFailed
from streamapp.events import MediaChanged, MediaView, Missing, PostChanged, ServiceFailed
from streamapp.ids import face_id
from streamapp.insights import (
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Moderation,
    SceneRecognition,
    Service,
    Tagging,
)

T = TypeVar("T")

VIOLENCE = {"violence", "violent", "gore"}
ADULT = {"adult", "nsfw", "porn", "hentai", "sexy", "racy"}
LIKELY = 0.5  # of a moderation score


def media_values(media: MediaView) -> dict[str, Any]:
    """What is known of a media, post apart."""
    moderation = _find(media.insights, Moderation)
    tagging = _find(media.insights, Tagging)
    scenes = _find(media.insights, SceneRecognition)
    captioning = _find(media.insights, ImageCaptioning)
    embedding = _find(media.insights, ImageEmbedding)
    detection = _find(media.insights, FaceDetection)
    colors = scenes.colors if scenes else ()
    labels = [*(scenes.scenes if scenes else ()), *(tagging.tags if tagging else ())]
    return {
        "media_id": media.media_id,
        "user_id": media.user_id,
        "job_id": media.job_id,
        "job_or_correlation_id": media.job_id or media.correlation_id,
        "correlation_id": media.correlation_id,
        "at": media.at,
        "is_safe": moderation is not None and moderation.is_safe,
        "moderation_confidence": moderation.confidence if moderation else 0.0,
        **_harm(moderation),
        "tags": tuple(tag.name for tag in tagging.tags) if tagging else (),
        "scenes": tuple(scene.name for scene in scenes.scenes) if scenes else (),
        "scores": {label.name: label.score for label in labels},  # a tag's score where a scene has its name
        "colors": colors,
        "color_names": tuple(dict.fromkeys(map(color_name, colors))),
        "caption": captioning.caption if captioning else "",
        "vector": embedding.vector if embedding else b"",
        "face_count": len(detection.faces) if detection else 0,
        "faces": _faces(media, detection) if detection else (),
        "completeness": "partial" if media.missing else "complete",
        "missing": _missing(Missing(media_id=media.media_id, service=service) for service in media.missing),
        "model": ",".join(sorted(set(media.models.values()))) or None,
    }


def media_changed_values(change: MediaChanged) -> dict[str, Any]:
    """The media and where it belongs."""
    return {**media_values(change.media), "post_id": change.post_id, "revision": change.revision}


def post_values(change: PostChanged) -> dict[str, Any]:
    """The aggregate of a post."""
    summary = change.summary
    return {
        "post_id": change.post_id,
        "user_id": change.user_id,
        "job_id": None,
        "correlation_id": change.correlation_id,
        "at": change.at,
        "media_count": summary.media_count,
        "all_tags": summary.all_tags,
        "all_scenes": summary.all_scenes,
        "top_tags": summary.top_tags,
        "top_scenes": summary.top_scenes,
        "total_faces": summary.total_faces,
        "is_safe": summary.is_safe,
        "moderation_confidence": summary.moderation_confidence or 0.0,
        "event_type": summary.event_type,
        "location_type": summary.location_type or "",
        "inferred_tags": summary.inferred_tags,
        "confidence": summary.confidence,
        "caption": summary.caption,
        "has_multiple_images": summary.media_count > 1,
        "media": tuple(map(media_values, change.media)),
        "revision": change.revision,
        "completeness": change.completeness,
        "missing": _missing(change.missing),
    }


def failed_values(change: ServiceFailed, service: Service) -> dict[str, Any]:
    """One service of a media that failed for good."""
    return {
        "post_id": change.post_id,
        "media_id": change.media_id,
        "user_id": change.user_id,
        "job_id": change.job_id,
        "correlation_id": change.correlation_id,
        "service": service,
        "error": change.error,
        "status": "FAILED",
    }


def refused_values(found: dict[str, str], correlation_id: str, error: str) -> dict[str, Any]:
    """A message that could not be read; `found` are its ids by wire name."""
    return {
        "post_id": found.get("postId"),
        "media_id": found.get("mediaId"),
        "user_id": found.get("userId"),
        "job_id": found.get("jobId"),
        "correlation_id": correlation_id,
        "service": None,
        "error": error,
        "status": "FAILED",
    }


def profile_failed_values(change: ProfileFailed) -> dict[str, Any]:
    """A profile picture that could not be used."""
    found = {"userId": change.user_id}
    return {**refused_values(found, change.correlation_id, change.error), "service": "profile_enrollment"}


def recognised_values(change: FaceRecognised) -> dict[str, Any]:
    """A face and the user it is."""
    return {
        "post_id": change.post_id,
        "media_id": change.media_id,
        "face_id": change.face_id,
        "recognised_id": change.user_id,
        "username": change.username,
        "confidence": change.confidence,
        "status": change.status,
        "correlation_id": change.correlation_id,
        "job_id": change.job_id,
        "at": change.at,
        "model": change.model,
    }


def profile_values(change: ProfileEmbedded) -> dict[str, Any]:
    """The face of a profile picture."""
    return {
        "user_id": change.user_id,
        "vector": change.embedding,
        "correlation_id": change.correlation_id,
        "at": change.at,
        "model": change.model,
    }


def _find(insights: Iterable[object], kind: type[T]) -> T | None:
    return next((insight for insight in insights if isinstance(insight, kind)), None)


def _harm(moderation: Moderation | None) -> dict[str, bool]:
    """What kind of harm: unknown is both, and an unsafe image whose scores do not name violence counts as adult."""
    if moderation is None:
        return {"has_adult_content": True, "has_violent_content": True}
    likely = {label.name.lower() for label in moderation.scores if label.score >= LIKELY}
    violent = bool(likely & VIOLENCE)
    adult = bool(likely & ADULT) or (not moderation.is_safe and not violent)
    return {"has_adult_content": adult, "has_violent_content": violent}


def _faces(media: MediaView, detection: FaceDetection) -> tuple[dict[str, Any], ...]:
    return tuple(_face_values(media, detection, index, face) for index, face in enumerate(detection.faces))


def _face_values(media: MediaView, detection: FaceDetection, index: int, face: Face) -> dict[str, Any]:
    x, y, width, height = face.bbox
    wide, high = max(detection.width, 1), max(detection.height, 1)
    return {
        "face_id": face_id(media.media_id, media.generation, index),
        "box": face.bbox,
        "corners": (x, y, x + width, y + height),
        "relative_box": (
            round(x / wide, 6),
            round(y / high, 6),
            round(width / wide, 6),
            round(height / high, 6),
        ),
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "confidence": face.confidence,
        "quality": face.quality,
        "embedding": face.embedding,
    }


def _missing(missing: Iterable[Missing]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"media_id": each.media_id, "service": each.service, "reason": each.reason or None} for each in missing
    )
