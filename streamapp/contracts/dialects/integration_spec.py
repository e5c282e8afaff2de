"""integration-spec: one message per media with everything, because its consumer saves the whole at once.

All fields are always there: what is not known is an empty text or array, and `isSafe` is false. Boxes are corners,
[x1, y1, x2, y2] in pixels; a face's embedding is the text of a JSON array, null when the face could not be embedded.
"""

from __future__ import annotations

from streamapp.contracts import streams
from streamapp.contracts.columns import (
    BOOLEAN,
    INTEGER,
    ISO_TIME,
    NUMBER,
    NUMBERS,
    SCORES,
    TEXT,
    TEXTS,
    VECTOR,
    Column,
    as_string,
    objects,
)
from streamapp.contracts.dialect import Dialect

_HEAD = (Column("mediaId", TEXT, "media_id"), Column("postId", TEXT, "post_id"))
_TIMESTAMP = Column("timestamp", ISO_TIME, "at")
_FACE = (
    Column("faceId", TEXT, "face_id"),
    Column("bbox", NUMBERS, "corners"),
    Column("confidence", NUMBER, "confidence"),
    Column("embedding", as_string(VECTOR), "embedding"),
    Column("quality", NUMBER, "quality"),
)

DIALECT = Dialect(
    name="integration-spec",
    about="One message per media with all fields; boxes as corners [x1,y1,x2,y2] in pixels.",
    combined=(
        *_HEAD,
        Column("isSafe", BOOLEAN, "is_safe"),
        Column("caption", TEXT, "caption"),
        Column("tags", TEXTS, "tags"),
        Column("scenes", TEXTS, "scenes"),
        Column("confidenceScores", SCORES, "scores"),
        Column("imageEmbedding", VECTOR, "vector"),
        Column("dominantColors", TEXTS, "colors"),
        _TIMESTAMP,
    ),
    faces=(
        *_HEAD,
        Column("facesDetected", INTEGER, "face_count"),
        Column("faces", objects(_FACE), "faces"),
        _TIMESTAMP,
    ),
    enriched=(
        Column("postId", TEXT, "post_id"),
        Column("allAiTags", TEXTS, "all_tags"),
        Column("allAiScenes", TEXTS, "all_scenes"),
        Column("inferredEventType", TEXT, "event_type"),
        Column("inferredLocationType", TEXT, "location_type"),
        Column("inferredTags", TEXTS, "inferred_tags"),
        Column("confidence", NUMBER, "confidence"),
        _TIMESTAMP,
    ),
    shown={
        streams.IMAGES: (("postId", "mediaId", "imageUrl", "position", "userId", "timestamp"),),
        streams.TRIGGERS: (("postId", "totalMedia", "allMediaIds", "timestamp"),),
        streams.SYNC: (("indexName", "operation", "documentId", "timestamp"),),
    },
)
