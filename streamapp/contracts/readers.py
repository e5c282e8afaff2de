"""Readers of the inbound streams: tolerant of every form in use, never depending on the dialect written.

Pure and total: a record or a ContractError, whatever the message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from streamapp.contracts import streams
from streamapp.contracts.entry import CORRELATION_ID, Entry, Field
from streamapp.contracts.errors import ContractError, shorten
from streamapp.contracts.records import (
    AggregationRequest,
    ImageRequest,
    PostUpdate,
    ProfileRequest,
    Request,
    SyncRequest,
)
from streamapp.contracts.values import (
    BOOLEAN,
    CORRELATION,
    COUNT,
    DELETION,
    ID,
    IDS,
    INDEX,
    OPERATION,
    SNAPSHOTS,
    TIME,
    TITLE,
    URL,
)

POST_ID = Field(attribute="post_id", names=("postId",), type=ID, required=True)
MEDIA_ID = Field(attribute="media_id", names=("mediaId",), type=ID, required=True)
URL_FIELD = Field(attribute="url", names=("mediaUrl", "imageUrl"), type=URL, required=True)
USER_ID = Field(attribute="user_id", names=("uploaderId", "userId"), type=ID)
PROFILE_USER_ID = Field(attribute="user_id", names=("userId", "uploaderId"), type=ID, required=True)
JOB_ID = Field(attribute="job_id", names=("jobId",), type=CORRELATION, about="carried to the results")
POSITION = Field(attribute="position", names=("position",), type=COUNT, about="order in the post")
CORRELATION_FIELD = Field(
    attribute="correlation_id",
    names=(CORRELATION_ID, "jobId"),
    type=CORRELATION,
    about="never changed; without it, one made of stream and entry id",
)
SENT_AT = Field(
    attribute="sent_at",
    names=("timestamp",),
    type=TIME,
    lenient=True,
    about="for measurements only; an unreadable one is ignored",
)
MEDIA_IDS = Field(attribute="media_ids", names=("allMediaIds", "mediaIds"), type=IDS, about="all media of the post")
TOTAL = Field(attribute="total", names=("totalMedia", "totalMediaCount", "mediaCount"), type=COUNT)
SNAPSHOT = Field(
    attribute="insights",
    names=("mediaInsights",),
    type=SNAPSHOTS,
    about="only the verdict isSafe is kept: what the backend holds unsafe stays so",
)
TITLE_FIELD = Field(attribute="title", names=("title", "postTitle"), type=TITLE, lenient=True)
DELETED = (
    Field(attribute="deleted", names=("operation", "action", "eventType"), type=DELETION),
    Field(attribute="deleted", names=("status", "postStatus"), type=DELETION),
    Field(attribute="deleted", names=("deleted", "isDeleted"), type=BOOLEAN),
)
INDEX_FIELD = Field(attribute="index", names=("indexType", "indexName", "tableName"), type=INDEX, required=True)
OPERATION_FIELD = Field(attribute="operation", names=("operation",), type=OPERATION, about="index when absent")
DOCUMENT_ID = Field(
    attribute="document_id",
    names=("documentId", "recordId"),
    type=ID,
    required=True,
    about="the row's primary key; with media_search_bulk the post",
)


@dataclass(frozen=True)
class Reader:
    """A stream's fields and the function that makes its record of them."""

    fields: tuple[Field[Any], ...]
    read: Callable[[Entry, tuple[Field[Any], ...]], Request]
    about: str


def _image(entry: Entry, fields: tuple[Field[Any], ...]) -> ImageRequest:
    return ImageRequest(**_correlated(entry, fields))


def _profile(entry: Entry, fields: tuple[Field[Any], ...]) -> ProfileRequest:
    return ProfileRequest(**_correlated(entry, fields))


def _trigger(entry: Entry, fields: tuple[Field[Any], ...]) -> AggregationRequest:
    return AggregationRequest(**_correlated(entry, fields))


def _update(entry: Entry, fields: tuple[Field[Any], ...]) -> PostUpdate:
    # Any of the three ways to say it deletes; the last one alone would overwrite the others.
    deleted = [entry.optional(field) for field in DELETED]
    rest = tuple(field for field in fields if field not in DELETED)
    return PostUpdate(**_correlated(entry, rest), deleted=any(deleted))


def _sync(entry: Entry, fields: tuple[Field[Any], ...]) -> SyncRequest:
    index, bulk = entry.required(INDEX_FIELD)
    return SyncRequest(
        index=index,
        bulk=bulk,
        operation=entry.optional(OPERATION_FIELD) or "index",
        document_id=entry.required(DOCUMENT_ID),
    )


def _correlated(entry: Entry, fields: tuple[Field[Any], ...]) -> dict[str, Any]:
    values = entry.values(tuple(field for field in fields if field is not CORRELATION_FIELD))
    return {**values, "correlation_id": entry.correlation_id(CORRELATION_FIELD)}


READERS: dict[str, Reader] = {
    streams.IMAGES: Reader(
        (POST_ID, MEDIA_ID, URL_FIELD, USER_ID, POSITION, JOB_ID, CORRELATION_FIELD, SENT_AT),
        _image,
        "An image of a post is to be looked at.",
    ),
    streams.PROFILES: Reader(
        (PROFILE_USER_ID, URL_FIELD, CORRELATION_FIELD, SENT_AT),
        _profile,
        "The face of a profile picture is to be enrolled.",
    ),
    streams.UPDATES: Reader(
        (POST_ID, MEDIA_IDS, TITLE_FIELD, *DELETED, CORRELATION_FIELD, SENT_AT),
        _update,
        "A post was changed or deleted.",
    ),
    streams.TRIGGERS: Reader(
        (POST_ID, MEDIA_IDS, TOTAL, SNAPSHOT, CORRELATION_FIELD, SENT_AT),
        _trigger,
        "The aggregate of a post is wanted.",
    ),
    streams.SYNC: Reader(
        (INDEX_FIELD, OPERATION_FIELD, DOCUMENT_ID),
        _sync,
        "A row of a read model changed; what it contains is read from its table.",
    ),
}


def read(stream: str, fields: Mapping[str, str], entry_id: str) -> Request:
    """The request in an entry. `entry_id` is its id in the stream, milliseconds-sequence. Raises ContractError."""
    return read_entry(Entry(stream, fields, entry_id))


def read_entry(entry: Entry) -> Request:
    """The request in entry, which notes what was taken for what. Raises ContractError."""
    if (reader := READERS.get(entry.stream)) is None:
        raise ContractError(entry.stream, "stream", shorten(entry.stream), ", ".join(READERS))
    entry.check_id()
    return reader.read(entry, reader.fields)
