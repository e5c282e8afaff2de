"""message-formats: one message per service, in both of the forms that the document gives.

The document contradicts itself: a schema, an example, Java code and a list of required fields, each different. Their
fields have different names except for the faces, so a message carries all of them:
- `service` with its own field, and `serviceType` with the same as a JSON object in `results`;
- `bbox`, text of [x1,y1,x2,y2] in pixels, and `boundingBox`, [x,y,width,height] as parts of the image (0..1);
- `totalFaces`, `mediaCount` and `totalFaceCount`, `totalMediaCount`, with `mediaInsights`.
Where one name has two types the schema counts: `embedding` and `confidence` of a face are text. `timestamp` is
milliseconds since the epoch, as everywhere in the document. `jobId` is required: the correlation id stands in for it.
`captioning` is its name for image captioning; it has no place for image embeddings, so they are not written.
"""

from __future__ import annotations

from streamapp.contracts import streams
from streamapp.contracts.columns import (
    ALL,
    BOOLEAN,
    EPOCH_TIME,
    INTEGER,
    NUMBER,
    NUMBERS,
    TEXT,
    TEXTS,
    VECTOR,
    Column,
    Columns,
    as_string,
    nested,
    objects,
    renamed,
)
from streamapp.contracts.dialect import Dialect
from streamapp.insights import Service

_SERVICE = renamed("text", {"image_captioning": "captioning"})
_HEAD = (
    Column("jobId", TEXT, "job_or_correlation_id"),
    Column("postId", TEXT, "post_id"),
    Column("mediaId", TEXT, "media_id"),
    Column("userId", TEXT, "user_id", optional=True),
)
_TIMESTAMP = Column("timestamp", EPOCH_TIME, "at")
_RESULTS: dict[Service, Columns] = {
    "moderation": (
        Column("isSafe", BOOLEAN, "is_safe"),
        Column("moderationConfidence", NUMBER, "moderation_confidence"),
    ),
    "tagging": (Column("tags", TEXTS, "tags"),),
    "scene_recognition": (Column("scenes", TEXTS, "scenes"),),
    "image_captioning": (Column("caption", TEXT, "caption"),),
}
_FACE = (
    Column("faceId", TEXT, "face_id"),
    Column("bbox", as_string(NUMBERS), "corners"),
    Column("boundingBox", NUMBERS, "relative_box"),
    Column("embedding", as_string(VECTOR), "embedding"),
    Column("confidence", as_string(NUMBER), "confidence"),
)
_MEDIA = (
    Column("mediaId", TEXT, "media_id"),
    Column("caption", TEXT, "caption"),
    Column("tags", TEXTS, "tags"),
    Column("scenes", TEXTS, "scenes"),
    Column("isSafe", BOOLEAN, "is_safe"),
    Column("confidenceScore", NUMBER, "moderation_confidence"),
    Column("faceCount", INTEGER, "face_count"),
)


def _insight(results: Columns) -> Columns:
    return (
        *_HEAD,
        Column("service", _SERVICE, "service"),
        Column("serviceType", _SERVICE, "service"),
        *results,
        Column("results", nested(results), ALL),
        _TIMESTAMP,
    )


DIALECT = Dialect(
    name="message-formats",
    about="One message per service, with `serviceType` and `results`; boxes as corners and as parts of the image.",
    service=_SERVICE,
    insights={service: _insight(results) for service, results in _RESULTS.items()},
    faces=(
        *_HEAD,
        Column("facesDetected", INTEGER, "face_count"),
        Column("faces", objects(_FACE), "faces"),
        _TIMESTAMP,
    ),
    enriched=(
        Column("postId", TEXT, "post_id"),
        Column("userId", TEXT, "user_id", optional=True),
        Column("mediaCount", INTEGER, "media_count"),
        Column("totalMediaCount", INTEGER, "media_count"),
        Column("aggregatedTags", TEXTS, "top_tags"),
        Column("aggregatedScenes", TEXTS, "top_scenes"),
        Column("totalFaces", INTEGER, "total_faces"),
        Column("totalFaceCount", INTEGER, "total_faces"),
        Column("isSafe", BOOLEAN, "is_safe"),
        Column("moderationConfidence", NUMBER, "moderation_confidence"),
        Column("eventType", TEXT, "event_type"),
        Column("combinedCaption", TEXT, "caption"),
        Column("hasMultipleImages", BOOLEAN, "has_multiple_images"),
        Column("mediaInsights", objects(_MEDIA), "media"),
        _TIMESTAMP,
    ),
    shown={
        streams.IMAGES: (
            ("postId", "mediaId", "mediaUrl", "uploaderId", "timestamp"),
            ("jobId", "postId", "mediaId", "userId", "imageUrl", "timestamp"),
        ),
        streams.SYNC: (("tableName", "operation", "recordId", "data", "timestamp"),),
        streams.INSIGHTS: (
            *(
                ("postId", "mediaId", "service", *(c.wire for c in results), "timestamp")
                for results in _RESULTS.values()
            ),
            ("jobId", "postId", "mediaId", "userId", "serviceType", "results", "timestamp"),
        ),
        streams.FACES: (
            ("postId", "mediaId", "facesDetected", "faces", "timestamp"),
            ("jobId", "postId", "mediaId", "userId", "faces", "timestamp"),
        ),
    },
)
