"""Writing result messages, and reading them back.

A result id names what a message says: the same result always has the same one, another result another. Receivers of
results drop what they have seen, so replays may write everything again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamapp.contracts import streams
from streamapp.contracts.columns import decode, encode
from streamapp.contracts.dialect import Dialect
from streamapp.contracts.dialects import DEFAULT, dialect_named
from streamapp.contracts.entry import CORRELATION_ID, ids
from streamapp.contracts.errors import ContractError, shorten
from streamapp.contracts.records import FaceRecognised, Personal, ProfileEmbedded, ProfileFailed
from streamapp.contracts.views import (
    failed_values,
    media_changed_values,
    post_values,
    profile_failed_values,
    profile_values,
    recognised_values,
    refused_values,
)
from streamapp.events import Change, MediaChanged, PostChanged, PostDeleted, ServiceFailed
from streamapp.ids import face_id, join
from streamapp.insights import FaceDetection

Result: TypeAlias = Change | Personal
# Neither what a message says nor part of it: the same answer at another time is the same answer.
_VOLATILE = {"revision", "timestamp"}


@dataclass(frozen=True)
class Message:
    """A message to a stream: the record key (post, or user), its fields, and the id of the result."""

    stream: str
    key: str
    fields: dict[str, str]
    result_id: str


def write(change: Result, *, dialect: str = DEFAULT) -> list[Message]:
    """The messages of a change. Raises ValueError for an unknown dialect or values that are no numbers."""
    form = dialect_named(dialect)
    match change:
        case MediaChanged():
            answers = _combined(form, change) if form.combined else _per_service(form, change)
            return [*answers, *(_message_of(form, each) for each in recognitions(change))]
        case PostChanged():
            triggers = (change.trigger,) if change.trigger is not None else ()
            result_id = join(change.post_id, change.clock, change.revision, *triggers)
            return [_message(form, streams.ENRICHED, change.post_id, post_values(change), result_id)]
        case ServiceFailed():
            return list(_failures(form, change))
        case PostDeleted():
            return []  # no document has a message for it
        case FaceRecognised():
            return [_message_of(form, change)]
        case ProfileEmbedded():
            result_id = join(change.user_id, "profile", change.clock)
            values = profile_values(change)
            return [_message(form, streams.PROFILE_EMBEDDINGS, change.user_id, values, result_id)]
        case ProfileFailed():
            result_id = join(change.user_id, "profile", change.clock, "failed")
            values = profile_failed_values(change)
            return [_message(form, streams.ERRORS, change.user_id, values, result_id)]


def recognitions(change: MediaChanged) -> Iterator[FaceRecognised]:
    """The faces of which this change says for the first time who they are."""
    media = change.media
    if not change.recognised or (found := media.recognition) is None:
        return
    for match in found.matches:
        if match.since == change.recognised:
            yield FaceRecognised(
                post_id=change.post_id,
                media_id=media.media_id,
                face_id=face_id(media.media_id, media.generation, match.face),
                user_id=match.user_id,
                username=match.username,
                status=match.status,
                confidence=match.confidence,
                version=match.since,
                correlation_id=media.correlation_id,
                at=found.at,
                model=media.models.get("face_detection"),
                job_id=media.job_id,
            )


def refused(error: ContractError, fields: Mapping[str, str], entry_id: str) -> Message | None:
    """The error result of a message that could not be read; None when nothing in it says whose it is."""
    found = ids(fields)
    key = next((found[name] for name in ("postId", "userId", "mediaId", CORRELATION_ID) if name in found), None)
    if key is None:
        return None
    correlation_id = found.get(CORRELATION_ID) or found.get("jobId") or f"{error.stream}:{entry_id}"
    values = refused_values(found, correlation_id, str(error))
    return _message(dialect_named(DEFAULT), streams.ERRORS, key, values, join("refused", error.stream, entry_id))


def read_result(stream: str, fields: Mapping[str, str], dialect: str = DEFAULT) -> dict[str, Any]:
    """The values of a result message by name, None where it has no such field. Raises ContractError."""
    form = dialect_named(dialect)
    named = fields.get("service") or fields.get("serviceType")
    service = form.service.read(named) if named else None
    try:
        columns = form.columns(stream, service)
    except KeyError:
        accepted = ", ".join(form.insights) if stream == streams.INSIGHTS else ", ".join(streams.OUTBOUND)
        raise ContractError(stream, "service", shorten(service or ""), accepted) from None
    try:
        return decode(columns, fields)
    except ValueError as error:
        field, _, problem = str(error).partition(": ")
        found = f"{shorten(fields.get(field, ''))} ({problem})"
        raise ContractError(stream, field, found, f"the form of {dialect}") from None


def _per_service(form: Dialect, change: MediaChanged) -> Iterable[Message]:
    """One message for each service that the change answers."""
    media = change.media
    values = media_changed_values(change)
    for service in change.answered:
        stream = streams.FACES if service == "face_detection" else streams.INSIGHTS
        if stream == streams.INSIGHTS and service not in form.insights:
            continue
        yield _message(
            form,
            stream,
            change.post_id,
            {**values, "service": service, "model": media.models.get(service)},
            join(change.post_id, media.media_id, service, media.generation),
        )


def _combined(form: Dialect, change: MediaChanged) -> Iterable[Message]:
    """One message with all, when all is known or no more is awaited; another one for the faces, if looked for.

    Which of its services have answered is part of what it says, so a late answer makes another result id: here it
    contains a digest of the fields.
    """
    media = change.media
    if change.recognised or (media.missing and not change.closed):
        return
    values = media_changed_values(change)
    fields = encode(form.columns(streams.INSIGHTS), {**values, "result_id": ""})
    said = {name: value for name, value in fields.items() if name not in _VOLATILE}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    result_id = join(change.post_id, media.media_id, "insights", media.generation, digest)
    yield _message(form, streams.INSIGHTS, change.post_id, values, result_id)
    if any(isinstance(insight, FaceDetection) for insight in media.insights):
        result_id = join(change.post_id, media.media_id, "face_detection", media.generation)
        values["model"] = media.models.get("face_detection")
        yield _message(form, streams.FACES, change.post_id, values, result_id)


def _failures(form: Dialect, change: ServiceFailed) -> Iterable[Message]:
    for service in change.services:
        result_id = join(change.post_id, change.media_id, service, change.generation, "failed")
        yield _message(form, streams.ERRORS, change.post_id, failed_values(change, service), result_id)


def _message_of(form: Dialect, face: FaceRecognised) -> Message:
    result_id = join(face.post_id, face.media_id, "face", face.face_id, face.version)
    return _message(form, streams.RECOGNITIONS, face.post_id, recognised_values(face), result_id)


def _message(form: Dialect, stream: str, key: str, values: dict[str, Any], result_id: str) -> Message:
    columns = form.columns(stream, values.get("service"))
    return Message(stream, key, encode(columns, {**values, "result_id": result_id}), result_id)
