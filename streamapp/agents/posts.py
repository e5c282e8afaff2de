"""The one agent that owns state: folds facts into the tables, and is the only one to issue tasks and changes."""

from __future__ import annotations

from typing import Any

from faust.types import EventT, StreamT

from streamapp import tables
from streamapp.agents.channel import channel
from streamapp.app import app
from streamapp.delivery import payload
from streamapp.events import decode_event, encode
from streamapp.names import POST_CHANGES, POST_EVENTS, TASKS
from streamapp.posts.fold import Folded, fold
from streamapp.posts.policy import Policy
from streamapp.posts.state import media_key


def policy() -> Policy:
    """The fold's settings, in milliseconds."""
    settings = app.settings
    return Policy(
        model=app.resources.engine.model,
        quiet=int(settings.post_quiet_seconds * 1000),
        timeout=int(settings.post_timeout_seconds * 1000),
        attempts=settings.attempts,
        retry=int(settings.retry_seconds * 1000),
    )


async def handle(event: EventT[Any]) -> None:
    """Fold one fact, write the rows it touches, send what follows: all in the order of the log."""
    fact = decode_event(payload(event))
    post_id = fact.post_id
    folded = fold(
        tables.posts.get(post_id),
        lambda media_id: tables.media.get(media_key(post_id, media_id)),
        fact,
        event.message.offset,
        policy(),
    )
    if folded.ignored:
        app.ignored[type(fact).__name__.lower()] += 1
    await _write(post_id, folded)


async def _write(post_id: str, folded: Folded) -> None:
    # Everything is encoded, and so its size checked, before the first write: all of a fact or nothing.
    post = tables.posts.encode(post_id, folded.post)
    rows = [tables.media.encode(media_key(post_id, media_id), row) for media_id, row in folded.media.items()]
    records = [(TASKS[task.kind], task.media_id, encode(task)) for task in folded.tasks]
    records += [(POST_CHANGES, post_id, encode(change)) for change in folded.changes]
    for topic, _, value in records:
        app.outbox.check(f"a record for {topic}", value)
    opened = None if folded.open is None else tables.open_posts.encode(post_id, folded.open)

    for row in rows:
        tables.media.put(*row)
    tables.posts.put(*post)
    if opened is None:
        tables.open_posts.delete(post_id)
    else:
        tables.open_posts.put(*opened)
    for topic, key, value in records:
        await app.outbox.send(topic, key=key, value=value)


lane = app.lane("posts", handle)


@app.agent(channel(POST_EVENTS))
async def posts(stream: StreamT[Any]) -> None:
    await lane.run(stream)
