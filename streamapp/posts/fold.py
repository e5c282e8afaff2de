"""fold(state, fact) -> state, tasks and changes.

What goes out depends only on the state after the fact and the fact itself, never on what the state was before: a
replayed fact gives the same tasks and changes and rewrites the same rows, so a crash between any two writes is
healed by the replay. Duplicates are told apart by clocks, generations and attempt numbers, never by counting.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from streamapp.events import (
    KINDS,
    Answered,
    Change,
    Event,
    Failed,
    MediaChanged,
    PostDeleted,
    Registered,
    ServiceFailed,
    Task,
    Ticked,
    service_of,
)
from streamapp.posts.aggregate import post_changed
from streamapp.posts.expected import expected, finished
from streamapp.posts.policy import Policy
from streamapp.posts.state import Media, OpenPost, Post
from streamapp.posts.transitions import Rows, apply
from streamapp.posts.view import view


class Folded(msgspec.Struct, frozen=True):
    """The rows to write (media by id; open None: delete the row) and what to send, in order."""

    post: Post
    media: dict[str, Media]
    open: OpenPost | None
    tasks: tuple[Task, ...] = ()
    changes: tuple[Change, ...] = ()
    ignored: str | None = None  # why the fact changed nothing


def fold(post: Post | None, rows: Rows, event: Event, policy: Policy) -> Folded:
    """What is known after event, and what follows from it."""
    step = apply(post or Post(post_id=event.post_id), rows, event, policy)
    after, touched = step.post, step.touched
    if after.deleted is not None:
        gone = PostDeleted(post_id=after.post_id, revision=after.revision, media_ids=tuple(after.media))
        return Folded(after, touched, None, (), (gone,), step.ignored)

    def current(media_id: str) -> Media | None:
        return touched.get(media_id) or rows(media_id)

    aggregate = None
    if after.media and (after.timed_out or finished(after)) and _agree(after, current):
        aggregate = post_changed(after, current, event)
        after = replace(after, tags=aggregate.summary.all_tags, emitted=aggregate.completeness)
    changes: list[Change] = [*_failures(event, touched.values()), *_media_changes(event, after, touched.values())]
    if aggregate is not None:
        changes.append(aggregate)
    tasks = tuple(task for row in touched.values() for task in _tasks(event, row))
    return Folded(after, touched, _open(after, policy), tasks, tuple(changes), step.ignored)


def _agree(post: Post, rows: Rows) -> bool:
    """Whether the post's row and its media rows are of one time. After a crash they may not be, while what is not yet
    acknowledged is replayed: an aggregate of rows of different times must not take the revision of a true one."""
    return all(
        (row := rows(media_id)) is not None and row.brief == post.media[media_id]
        for media_id in expected(post).media_ids
    )


def _tasks(event: Event, row: Media) -> Iterable[Task]:
    """The attempts this fact issues: first ones by a registration, further ones by a tick."""
    if not isinstance(event, Registered | Ticked) or (isinstance(event, Registered) and event.clock != row.clock):
        return
    for kind, services in KINDS.items():
        out: dict[tuple[str, int], list[str]] = {}
        for service in services:
            slot = row.slots.get(service)
            if slot is None or not slot.is_out:
                continue
            if slot.failures == 0 if isinstance(event, Registered) else slot.issued == event.at:
                out.setdefault((slot.generation, slot.failures + 1), []).append(service)
        for (generation, attempt), asked in out.items():
            yield Task(
                kind=kind,
                post_id=row.post_id,
                media_id=row.media_id,
                url=row.url,
                generation=generation,
                attempt=attempt,
                services=tuple(asked),  # type: ignore[arg-type]  # names from KINDS
            )


def _failures(event: Event, touched: Iterable[Media]) -> Iterable[ServiceFailed]:
    """The services this failure was the last attempt of."""
    if not isinstance(event, Failed):
        return
    for row in touched:
        services = tuple(
            service
            for service in event.services
            if (slot := row.slots.get(service)) is not None
            and slot.failed
            and slot.generation == event.generation
            and slot.failures == event.attempt
        )
        if services:
            yield ServiceFailed(
                post_id=row.post_id,
                media_id=row.media_id,
                generation=event.generation,
                services=services,
                error=event.error,
                at=event.at,
                correlation_id=row.correlation_id,
                job_id=row.job_id,
            )


def _media_changes(event: Event, after: Post, touched: Iterable[Media]) -> Iterable[MediaChanged]:
    """Media this fact answered or failed for good; at the deadline every media that still lacks something."""
    for row in touched:
        deadline = isinstance(event, Ticked) and after.timed_out and not row.brief.settled
        if not deadline and not isinstance(event, Answered | Failed):
            continue
        answered = (
            tuple(
                service
                for insight in event.insights
                if (slot := row.slots.get(service := service_of(insight))) is not None
                and slot.generation == event.generation
            )
            if isinstance(event, Answered)
            else ()
        )
        yield MediaChanged(
            post_id=row.post_id,
            revision=after.revision,
            media=view(row),
            post_tags=after.tags,
            answered=answered,
            closed=after.timed_out or row.brief.settled,
        )


def _open(post: Post, policy: Policy) -> OpenPost | None:
    """Until when the post can be left alone; None when nothing is awaited."""
    if finished(post):
        return None
    dues = [brief.due for brief in post.media.values() if brief.due is not None]
    if not post.quiet and not expected(post).known:
        dues.append(post.opened_at + policy.quiet)
    if not post.timed_out:
        dues.append(post.opened_at + policy.timeout)
    return OpenPost(since=post.opened_at, due=min(dues, default=None))
