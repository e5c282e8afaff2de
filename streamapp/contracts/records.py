"""What readers give (requests of the backend) and what only writers know (results about people).

Ids are opaque strings. Times are milliseconds since the epoch; `sent_at` is the backend's own timestamp, None when it
gave none or an unreadable one: nothing but measurements may depend on it, the clock of a request is its entry id.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

Index: TypeAlias = Literal[
    "media_search",
    "post_search",
    "user_search",
    "face_search",
    "recommendations_knn",
    "feed_personalized",
    "known_faces_index",
]
INDICES: tuple[Index, ...] = get_args(Index)
Operation: TypeAlias = Literal["index", "delete"]


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Look at an image of a post."""

    post_id: str
    media_id: str
    url: str
    correlation_id: str
    position: int | None = None
    user_id: str | None = None
    job_id: str | None = None
    sent_at: int | None = None


class ProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Enrol the face of a profile picture."""

    user_id: str
    url: str
    correlation_id: str
    sent_at: int | None = None


class PostUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A post was changed or deleted. `media_ids` None: its media are unchanged; empty: it has none left."""

    post_id: str
    correlation_id: str
    media_ids: tuple[str, ...] | None = None
    title: str | None = None
    deleted: bool = False
    sent_at: int | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The backend's verdict on a media. The rest of what it sends is ours anyway; only `false` must never be lost."""

    media_id: str
    is_safe: bool | None = None


class AggregationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Give the aggregate of a post. `media_ids` empty and `total` None: the backend did not name its media."""

    post_id: str
    correlation_id: str
    media_ids: tuple[str, ...] = ()
    total: int | None = None
    insights: tuple[Snapshot, ...] = ()
    sent_at: int | None = None


class SyncRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A row changed. `bulk`: `document_id` is a post and all its documents in the index are meant."""

    index: Index
    operation: Operation
    document_id: str
    bulk: bool = False


Request: TypeAlias = ImageRequest | ProfileRequest | PostUpdate | AggregationRequest | SyncRequest


class FaceRecognised(msgspec.Struct, frozen=True, kw_only=True):
    """A face of a media is, or may be, a known user. `version` grows with each new answer for the same face."""

    post_id: str
    media_id: str
    face_id: str
    user_id: str
    username: str
    status: Literal["IDENTIFIED", "SUGGESTED"]
    confidence: float  # cosine similarity, 0..1
    version: int
    correlation_id: str
    at: int
    model: str | None = None
    job_id: str | None = None


class ProfileEmbedded(msgspec.Struct, frozen=True, kw_only=True):
    """The face of a profile picture as a vector, little-endian float32. `clock` is the request's entry id."""

    user_id: str
    embedding: bytes
    clock: str
    correlation_id: str
    at: int
    model: str | None = None


class ProfileFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A profile picture could not be used, for good. `clock` is the request's entry id."""

    user_id: str
    error: str
    clock: str
    correlation_id: str


Personal: TypeAlias = FaceRecognised | ProfileEmbedded | ProfileFailed
