"""The backend's messages as facts. What cannot be read is kept with its cause and answered on ml-error-results."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.app import app
from streamapp.contracts import (
    AggregationRequest,
    ContractError,
    ImageRequest,
    PostUpdate,
    Request,
    SyncRequest,
    derived_correlation_id,
    fields_of,
    read,
    refused,
)
from streamapp.contracts.streams import IMAGES, SYNC, TRIGGERS, UPDATES
from streamapp.delivery import dead_letter, payload
from streamapp.events import Event, Registered, Triggered, Updated, encode
from streamapp.names import POST_EVENTS
from streamapp.posts.clock import parse
from streamapp.times import now


async def handle(event: EventT[Any]) -> None:
    """One message in, one fact out."""
    if (request := await request_of(event)) is not None:
        fact = fact_of(request, clock=entry_id_of(event), at=now())
        await app.outbox.send(POST_EVENTS, key=fact.post_id, value=encode(fact))


async def request_of(event: EventT[Any]) -> Request | None:
    """What a mirrored message asks for; None when it cannot be read, which is then told."""
    stream = event.message.topic
    fields: dict[str, str] = {}
    try:
        fields = fields_of(stream, payload(event))
        return read(stream, fields, entry_id_of(event))
    except ContractError as exc:
        await dead_letter(app.outbox, event, exc)
        if (message := refused(exc, fields, entry_id_of(event))) is not None:
            await app.outbox.send_message(message)
        return None


def entry_id_of(event: EventT[Any]) -> str:
    """The Redis entry id the bridge gave; of a record that others produced, its time and offset in that form."""
    raw: bytes | None = dict(event.headers or {}).get("redis-id")
    if raw is not None:
        with suppress(ValueError):  # UnicodeDecodeError is one
            parse(text := raw.decode())
            return text
    return f"{int(event.message.timestamp * 1000)}-{event.message.offset}"


def fact_of(request: Request, *, clock: str, at: int) -> Event:
    """The fact a request states. Raises TypeError for a request that is not about a post."""
    derived = derived_correlation_id(TRIGGERS, clock)
    match request:
        case ImageRequest():
            return Registered(
                post_id=request.post_id,
                media_id=request.media_id,
                url=request.url,
                clock=clock,
                at=at,
                correlation_id=request.correlation_id,
                position=request.position,
                user_id=request.user_id,
                job_id=request.job_id,
            )
        case AggregationRequest():
            return Triggered(
                post_id=request.post_id,
                clock=clock,
                at=at,
                # Without one of its own, the aggregate carries the correlation id of the post's first image.
                correlation_id=None if request.correlation_id == derived else request.correlation_id,
                media_ids=request.media_ids,
                total=request.total,
                unsafe=tuple(media.media_id for media in request.insights if media.is_safe is False),
            )
        case PostUpdate():
            return Updated(
                post_id=request.post_id,
                clock=clock,
                at=at,
                correlation_id=request.correlation_id,
                media_ids=request.media_ids,
                deleted=request.deleted,
            )
        case SyncRequest(index="post_search", operation="delete"):
            return Updated(
                post_id=request.document_id,
                clock=clock,
                at=at,
                correlation_id=derived_correlation_id(SYNC, clock),
                deleted=True,
            )
        case _:
            raise TypeError(f"{type(request).__name__} is not about a post")


lane = app.lane("ingest", handle)


@app.agent(channel(IMAGES, TRIGGERS, UPDATES))
async def ingest(stream: StreamT[Any]) -> None:
    await lane.run(stream)
