"""backend-dto: one message per media in the fields of the backend's result classes.

Lists and booleans are always there; while moderation is unknown both booleans are true, so that nothing unchecked
passes for harmless. `qualityScore`, `dominantEmotion`, `estimatedAge` and `estimatedGender` are never written: no
engine produces them. `colors` are names. A box is four numbers, in pixels. The document has no aggregate of a post: it
is written as in api-reference.
"""

from __future__ import annotations

from streamapp.contracts import streams
from streamapp.contracts.columns import BOOLEAN, NUMBER, TEXT, TEXTS, Column, objects
from streamapp.contracts.dialect import Dialect
from streamapp.contracts.dialects import api_reference

_FACE = (
    Column("boundingBoxX", NUMBER, "x"),
    Column("boundingBoxY", NUMBER, "y"),
    Column("boundingBoxWidth", NUMBER, "width"),
    Column("boundingBoxHeight", NUMBER, "height"),
    Column("confidence", NUMBER, "confidence"),
)

DIALECT = Dialect(
    name="backend-dto",
    about="One message per media as the backend's classes have it; boxes as four numbers in pixels.",
    combined=(
        Column("mediaId", TEXT, "media_id"),
        Column("detectedObjects", TEXTS, "tags"),
        Column("scenes", TEXTS, "scenes"),
        Column("colors", TEXTS, "color_names"),
        Column("hasAdultContent", BOOLEAN, "has_adult_content"),
        Column("hasViolentContent", BOOLEAN, "has_violent_content"),
        Column("correlationId", TEXT, "correlation_id"),
    ),
    faces=(
        Column("mediaId", TEXT, "media_id"),
        Column("faces", objects(_FACE), "faces"),
        Column("correlationId", TEXT, "correlation_id"),
    ),
    enriched=api_reference.DIALECT.enriched,
    shown={
        streams.IMAGES: (("postId", "mediaId", "imageUrl", "correlationId"),),
        streams.PROFILES: (("userId", "imageUrl", "correlationId"),),
    },
)
