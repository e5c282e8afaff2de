"""The one agent that owns state: folds facts into the tables, and is the only one to issue tasks and changes."""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from faust.types import EventT, StreamT

from streamapp import tables
from streamapp.agents.channel import channel
from streamapp.app import app
from streamapp.delivery import TooLarge, keep, origin, payload
from streamapp.events import Change, Event, Recheck, ServiceFailed, Ticked, decode_event, encode
from streamapp.names import POST_CHANGES, POST_EVENTS, RECOGNITION_TASKS, ROW_CHANGES, TASKS
from streamapp.posts.fold import fold
from streamapp.posts.policy import Policy
from streamapp.posts.state import media_key

logger = logging.getLogger(__name__)

# Images take the partitions of tasks in turn: hashes of a few dozen ids leave one worker idle long before the other.
_turns = itertools.count()


def policy() -> Policy:
    """The fold's settings, in milliseconds."""
    settings = app.settings
    return Policy(
        model=app.resources.engine.model,
        quiet=int(settings.post_quiet_seconds * 1000),
        timeout=int(settings.post_timeout_seconds * 1000),
        max_wait=int(settings.post_max_wait_seconds * 1000),
        attempts=settings.attempts,
        retry=int(settings.retry_seconds * 1000),
    )


async def handle(event: EventT[Any]) -> None:
    """Fold one fact, write the rows it touches, send what follows: all in the order of the log."""
    fact = decode_event(payload(event))
    try:
        await _fold(event, fact)
    except (msgspec.MsgspecError, TooLarge) as exc:
        if not isinstance(fact, Ticked):
            raise  # the fact is kept with this cause
        app.refused["ticks"] += 1  # that time has passed need not be kept, and is told again soon
        logger.warning("a tick of post %s changes nothing: %s", fact.post_id, exc)


async def _fold(event: EventT[Any], fact: Event) -> None:
    post_id = fact.post_id
    if isinstance(fact, Recheck) and tables.posts.get(post_id) is None:
        app.ignored["recheck"] += 1  # rows of another application, or of the backend's own
        return
    folded = fold(
        tables.posts.get(post_id),
        lambda media_id: tables.media.get(media_key(post_id, media_id)),
        fact,
        event.message.offset,
        policy(),
    )
    if folded.ignored:
        app.ignored[type(fact).__name__.lower()] += 1
    # Everything is encoded, and so its size checked, before the first write: all of a fact or nothing.
    post = tables.posts.encode(post_id, folded.post)
    rows = [tables.media.encode(media_key(post_id, media_id), row) for media_id, row in folded.media.items()]
    opened = None if folded.open is None else tables.open_posts.encode(post_id, folded.open)

    for row in rows:
        tables.media.put(*row)
    tables.posts.put(*post)
    if opened is None:
        tables.open_posts.delete(post_id)
    else:
        tables.open_posts.put(*opened)
    # Of one image to one partition, so that one worker decodes it for all looks.
    turns = defaultdict[str, int](lambda: next(_turns) % app.settings.partitions)
    for task in folded.tasks:
        await app.outbox.send(TASKS[task.kind], key=task.media_id, value=encode(task), partition=turns[task.media_id])
    if (comparison := folded.comparison) is not None:
        await app.outbox.send(RECOGNITION_TASKS, key=comparison.media_id, value=encode(comparison))
    for change in folded.changes:
        topics = (POST_CHANGES,) if isinstance(change, ServiceFailed) else (POST_CHANGES, ROW_CHANGES)
        await _send_change(event, change, topics)
    for change in folded.rows:
        await _send_change(event, change, (ROW_CHANGES,))


async def _send_change(event: EventT[Any], change: Change, topics: Sequence[str]) -> None:
    """Results and rows have a topic each, so that a database that is down holds up no result. A change over the
    message limit (an aggregate of many thousand media) is kept, and the state goes on without it."""
    key, value = change.post_id.encode(), encode(change)
    for topic in topics:
        try:
            await app.outbox.send(topic, key=key, value=value)
        except TooLarge as exc:
            await keep(app.outbox, f"{origin(event)}:{topic}", key, value, exc)


lane = app.lane("posts", handle)


@app.agent(channel(POST_EVENTS))
async def posts(stream: StreamT[Any]) -> None:
    await lane.run(stream)
