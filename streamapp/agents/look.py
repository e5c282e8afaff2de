"""One attempt of a task: get the picture, let the engine look, tell the posts agent what came of it.

A failed attempt is a fact too: the posts agent decides whether and when there is another one.
"""

from __future__ import annotations

from typing import Any

from faust.types import EventT

from streamapp.app import app
from streamapp.delivery import TooLarge, dead_letter, payload
from streamapp.engines.batching import Looks
from streamapp.events import Answered, Failed, Task, decode_task, encode
from streamapp.insights import Insight, service_of
from streamapp.media.fetch import FetchError
from streamapp.media.image import ImageError
from streamapp.names import POST_EVENTS
from streamapp.times import now


async def attend(event: EventT[Any], looks: Looks) -> None:
    """Answer the task in event, or say why not."""
    task = decode_task(payload(event))
    try:
        picture = await app.resources.pictures.get(task.url, task.generation)
        # After a failure that may have been another picture's of its batch, and may be this one's.
        found = await looks.look(picture, alone=task.attempt > 1)
    except (FetchError, ImageError) as exc:
        await _fail(event, task, exc, permanent=getattr(exc, "permanent", True))
    except Exception as exc:  # whatever an engine raises is this image's failure, told with its name
        await _fail(event, task, exc, permanent=False)
    else:
        insights = tuple(insight for insight in found if service_of(insight) in task.services)
        try:
            await _answer(task, looks.model, insights)
        except TooLarge as exc:
            await _fail(event, task, exc, permanent=True)


async def _answer(task: Task, model: str, insights: tuple[Insight, ...]) -> None:
    answer = Answered(
        post_id=task.post_id,
        media_id=task.media_id,
        generation=task.generation,
        model=model,
        at=now(),
        insights=insights,
    )
    await app.outbox.send(POST_EVENTS, key=task.post_id, value=encode(answer))


async def _fail(event: EventT[Any], task: Task, exc: Exception, *, permanent: bool) -> None:
    text = str(exc) if isinstance(exc, FetchError | ImageError | TimeoutError) else f"{type(exc).__name__}: {exc}"
    failure = Failed(
        post_id=task.post_id,
        media_id=task.media_id,
        generation=task.generation,
        services=task.services,
        attempt=task.attempt,
        error=text,
        at=now(),
        permanent=permanent,
    )
    await app.outbox.send(POST_EVENTS, key=task.post_id, value=encode(failure))
    if permanent or task.attempt >= app.settings.attempts:
        await dead_letter(app.outbox, event, exc)
