"""api-reference: one message per service, boxes as [x, y, width, height] in pixels.

The document does not list `image_embedding` among the services; it is written with `imageEmbedding`, because a
consumer that switches on `service` passes over what it does not know.
"""

from __future__ import annotations

from streamapp.contracts import streams
from streamapp.contracts.columns import (
    BOOLEAN,
    INTEGER,
    ISO_TIME,
    NUMBER,
    NUMBERS,
    TEXT,
    TEXTS,
    VECTOR,
    Column,
    objects,
)
from streamapp.contracts.dialect import Dialect

_HEAD = (Column("postId", TEXT, "post_id"), Column("mediaId", TEXT, "media_id"))
_SERVICE = (*_HEAD, Column("service", TEXT, "service"))
_TIMESTAMP = Column("timestamp", ISO_TIME, "at")
_FACE = (
    Column("faceId", TEXT, "face_id"),
    Column("bbox", NUMBERS, "box"),
    Column("embedding", VECTOR, "embedding"),
    Column("confidence", NUMBER, "confidence"),
)

DIALECT = Dialect(
    name="api-reference",
    about="One message per service; boxes [x,y,width,height] in pixels.",
    insights={
        "moderation": (
            *_SERVICE,
            Column("isSafe", BOOLEAN, "is_safe"),
            Column("moderationConfidence", NUMBER, "moderation_confidence"),
            _TIMESTAMP,
        ),
        "tagging": (*_SERVICE, Column("tags", TEXTS, "tags"), _TIMESTAMP),
        "scene_recognition": (*_SERVICE, Column("scenes", TEXTS, "scenes"), _TIMESTAMP),
        "image_captioning": (*_SERVICE, Column("caption", TEXT, "caption"), _TIMESTAMP),
        "image_embedding": (*_SERVICE, Column("imageEmbedding", VECTOR, "vector"), _TIMESTAMP),
    },
    faces=(
        *_HEAD,
        Column("facesDetected", INTEGER, "face_count"),
        Column("faces", objects(_FACE), "faces"),
        _TIMESTAMP,
    ),
    enriched=(
        Column("postId", TEXT, "post_id"),
        Column("mediaCount", INTEGER, "media_count"),
        Column("allAiTags", TEXTS, "all_tags"),
        Column("allAiScenes", TEXTS, "all_scenes"),
        Column("aggregatedTags", TEXTS, "top_tags"),
        Column("aggregatedScenes", TEXTS, "top_scenes"),
        Column("totalFaces", INTEGER, "total_faces"),
        Column("isSafe", BOOLEAN, "is_safe"),
        Column("moderationConfidence", NUMBER, "moderation_confidence"),
        Column("inferredEventType", TEXT, "event_type"),
        Column("combinedCaption", TEXT, "caption"),
        Column("hasMultipleImages", BOOLEAN, "has_multiple_images"),
        _TIMESTAMP,
        Column("correlationId", TEXT, "correlation_id"),
    ),
    shown={
        streams.IMAGES: (("postId", "mediaId", "mediaUrl", "uploaderId", "correlationId"),),
        streams.SYNC: (("operation", "indexType", "documentId"),),
    },
)
