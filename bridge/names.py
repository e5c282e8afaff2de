"""The streams and topics the bridge carries. A stream and its topic have the same name."""

from collections.abc import Mapping

#: Redis to Kafka: the stream, and the fields that may hold its record key, the first present one wins.
INBOUND: Mapping[str, tuple[str, ...]] = {
    "post-image-processing": ("postId",),
    "post-update-processing": ("postId",),
    "post-aggregation-trigger": ("postId",),
    "profile-picture-processing": ("userId",),
    "es-sync-queue": ("documentId", "recordId", "postId"),
}

#: Kafka to Redis.
OUTBOUND: tuple[str, ...] = (
    "ml-insights-results",
    "face-detection-results",
    "face-recognition-results",
    "post-insights-enriched",
    "ml-error-results",
    "user-profile-face-embedding-results",
)

#: The topic of what could not be carried, see `bridge.records.dead_letter`.
DEAD_LETTERS = "dead-letters"
