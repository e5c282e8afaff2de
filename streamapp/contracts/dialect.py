"""What a dialect is, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamapp.contracts import streams
from streamapp.contracts.columns import (
    INTEGER,
    ISO_TIME,
    NUMBER,
    TEXT,
    VECTOR,
    Column,
    Columns,
    Kind,
    objects,
)
from streamapp.insights import Service

# Carried from the request to every result of it.
CARRIED = (
    Column("correlationId", TEXT, "correlation_id"),
    Column("userId", TEXT, "user_id", optional=True),
    Column("jobId", TEXT, "job_id", optional=True),
)
# Fields of our own, which no document knows.
RESULT_ID = Column("resultId", TEXT, "result_id")
MODEL = Column("model", TEXT, "model", optional=True)
REVISION = Column("revision", INTEGER, "revision")
COMPLETENESS = Column("completeness", TEXT, "completeness")
MISSING = Column(
    "missing",
    objects(
        (
            Column("mediaId", TEXT, "media_id"),
            Column("service", TEXT, "service", optional=True),
            Column("reason", TEXT, "reason", optional=True),
        )
    ),
    "missing",
)
ADDITIONS = {column.wire for column in (RESULT_ID, MODEL, REVISION, COMPLETENESS, MISSING)}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One form of the messages, as one of the documents that backends were built after describes it.

    It has either `insights`, one message per service (a service that is not in it has no place in the document), or
    `combined`, one message per media whose consumer saves the whole at once. `shown` are forms of
    messages in the document besides those that are written: they only serve to tell the documents apart.
    """

    name: str
    about: str
    insights: Mapping[Service, Columns] = field(default_factory=dict)
    combined: Columns = ()
    faces: Columns
    enriched: Columns
    service: Kind = TEXT
    shown: Mapping[str, tuple[tuple[str, ...], ...]]

    def columns(self, stream: str, service: str | None = None) -> Columns:
        """All columns of a result message. Raises KeyError for another stream, or a service it does not write."""
        match stream:
            case streams.INSIGHTS if self.combined:
                return _whole(self.combined, REVISION, COMPLETENESS, MISSING, RESULT_ID, MODEL)
            case streams.INSIGHTS:
                return _whole(self.insights[service], REVISION, RESULT_ID, MODEL)  # type: ignore[index]  # KeyError
            case streams.FACES:
                return _whole(self.faces, REVISION, RESULT_ID, MODEL)
            case streams.ENRICHED:
                return _whole(self.enriched, REVISION, COMPLETENESS, MISSING, RESULT_ID)
            case streams.ERRORS:
                return self._errors
        return COMMON[stream]

    @property
    def documented(self) -> list[tuple[str, Columns]]:
        """The forms of result messages as the document has them, nothing added."""
        insights = [self.combined] if self.combined else list(self.insights.values())
        return [
            *((streams.INSIGHTS, columns) for columns in insights),
            (streams.FACES, self.faces),
            (streams.ENRICHED, self.enriched),
            (streams.ERRORS, self._errors),
        ]

    @property
    def _errors(self) -> Columns:
        return (
            CARRIED[0],
            Column("error", TEXT, "error"),
            Column("status", TEXT, "status"),
            Column("postId", TEXT, "post_id", optional=True),
            Column("mediaId", TEXT, "media_id", optional=True),
            Column("service", self.service, "service", optional=True),
            *CARRIED[1:],
            RESULT_ID,
        )


def _whole(columns: Columns, *extras: Column) -> Columns:
    """The document's columns, then what is carried and not among them, then our own."""
    present = {column.wire for column in columns}
    return (*columns, *(column for column in CARRIED if column.wire not in present), *extras)


# No document has the fields of these: one form for all dialects.
COMMON: dict[str, Columns] = {
    streams.RECOGNITIONS: (
        Column("mediaId", TEXT, "media_id"),
        Column("postId", TEXT, "post_id"),
        Column("faceId", TEXT, "face_id"),
        Column("suggestedUserId", TEXT, "recognised_id"),
        Column("matchedUsername", TEXT, "username"),
        Column("confidenceScore", NUMBER, "confidence"),
        Column("status", TEXT, "status"),
        Column("correlationId", TEXT, "correlation_id"),
        Column("jobId", TEXT, "job_id", optional=True),
        Column("timestamp", ISO_TIME, "at"),
        RESULT_ID,
        MODEL,
    ),
    streams.PROFILE_EMBEDDINGS: (
        Column("userId", TEXT, "user_id"),
        Column("faceEmbedding", VECTOR, "vector"),
        Column("correlationId", TEXT, "correlation_id"),
        Column("timestamp", ISO_TIME, "at"),
        RESULT_ID,
        MODEL,
    ),
}
