"""Profile pictures: the face in them is enrolled, and told to the backend."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.agents.ingest import entry_id_of, request_of
from streamapp.app import app
from streamapp.contracts import ProfileEmbedded, ProfileFailed, ProfileRequest, write
from streamapp.contracts.streams import PROFILES
from streamapp.delivery import dead_letter
from streamapp.faces.enrolment import EnrolmentRefused, Outdated
from streamapp.faces.store import Enrolment
from streamapp.media.errors import FetchError
from streamapp.media.image import ImageError
from streamapp.posts.clock import newer, parse
from streamapp.sinks.parts import database_id

logger = logging.getLogger(__name__)

REMEMBERED = 10_000  # users whose ids are no numbers: only pictures that are on their way together may pass each other

_enrolling = asyncio.Lock()  # what is written later is told later: a backend keeps the last embedding it is told
_told: dict[str, str] = {}  # users whose ids are no numbers, and the newest picture this worker told of each


async def handle(event: EventT[Any]) -> None:
    """Enrol the face of one picture, or say why not."""
    request = await request_of(event)
    if not isinstance(request, ProfileRequest):
        return
    clock = entry_id_of(event)
    try:
        found = await app.resources.profiles.read(request.user_id, request.url, clock)
        async with _enrolling:
            await _enrol(request, clock, found)
    except Outdated as exc:
        app.ignored["profiles"] += 1
        logger.info("the picture %s of user %s is not enrolled: %s", clock, request.user_id, exc)
    except (EnrolmentRefused, FetchError, ImageError) as exc:
        failed = ProfileFailed(
            user_id=request.user_id, error=str(exc), clock=clock, correlation_id=request.correlation_id
        )
        await _tell(failed)
        await dead_letter(app.outbox, event, exc)


async def _enrol(request: ProfileRequest, clock: str, found: Enrolment) -> None:
    if (user_id := database_id(request.user_id)) is None:
        told = _told.get(request.user_id)
        if told is not None and newer(told, clock):  # not the same one: an attempt may be repeated
            raise Outdated("a newer picture of the user was told")
        _told[request.user_id] = clock
        if len(_told) > REMEMBERED:
            del _told[next(iter(_told))]
        app.refused["enrolments"] += 1
        logger.warning("user %s is told their face, but can have no row: the id is no number", request.user_id)
    elif found.clock == clock:
        await app.resources.known_faces.enrol(user_id, found)
    else:
        await app.resources.known_faces.repeat(user_id, clock, found)
    await _tell(
        ProfileEmbedded(
            user_id=request.user_id,
            embedding=found.embedding,
            clock=clock,
            correlation_id=request.correlation_id,
            at=parse(clock)[0],
            model=found.model,
        )
    )


async def _tell(result: ProfileEmbedded | ProfileFailed) -> None:
    for message in write(result, dialect=app.settings.dialect):
        await app.outbox.send_message(message)


lane = app.lane("profiles", handle, room=app.settings.tasks_in_flight, ordered=False)


@app.agent(channel(PROFILES))
async def profiles(stream: StreamT[Any]) -> None:
    await lane.run(stream)
