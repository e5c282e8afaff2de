"""fold(state, fact) -> state, tasks and changes.

What goes out depends only on the state after the fact and the fact itself, never on what the state was before: a
replayed fact gives the same tasks and changes and rewrites the same rows, so a crash between any two writes is healed
by the replay. Positions in the log tell a replayed fact from a new one; clocks, generations and attempt numbers tell a
repeated message from a new one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from streamapp.events import (
    Answered,
    Change,
    Event,
    Failed,
    MediaChanged,
    PostDeleted,
    Recheck,
    Recognise,
    Recognised,
    Registered,
    ServiceFailed,
    Task,
    Ticked,
    Triggered,
    Updated,
)
from streamapp.insights import KINDS, FaceDetection, Service, service_of
from streamapp.posts.aggregate import post_changed
from streamapp.posts.brief import ANSWERED, FAILED, Brief
from streamapp.posts.expected import expected, finished, has_media, known, removed
from streamapp.posts.policy import Policy
from streamapp.posts.state import Media, OpenPost, Post
from streamapp.posts.transitions import Rows, due, move_media, move_post, recognises
from streamapp.posts.view import media_changed, service_failed


class Folded(msgspec.Struct, frozen=True):
    """The rows of state to write (media by id; open None: delete the row) and what to send, in order: tasks, the
    comparison of faces, changes, and changes that concern the read models only."""

    post: Post
    media: dict[str, Media]
    open: OpenPost | None
    tasks: tuple[Task, ...] = ()
    changes: tuple[Change, ...] = ()
    rows: tuple[MediaChanged, ...] = ()
    comparison: Recognise | None = None
    ignored: str | None = None  # why the fact said nothing new


def fold(post: Post | None, rows: Rows, event: Event, at: int, policy: Policy) -> Folded:
    """What is known after the fact at position `at` of the log, and what follows from it."""
    after, ignored = move_post(post or Post(post_id=event.post_id), event, at, policy)
    touched = move_media(after, rows, event, at, policy)
    if after.deleted is not None:
        gone = PostDeleted(post_id=after.post_id, revision=after.revision, media_ids=tuple(after.media))
        return Folded(after, touched, None, changes=(gone,), ignored=ignored)

    def current(media_id: str) -> Media | None:
        return touched.get(media_id) or rows(media_id)

    aggregate = None
    done = finished(after)
    if has_media(after) and (done or after.timed_out) and _gives(event, after) and _current(after, current, at):
        aggregate = post_changed(after, current)
        after = replace(after, tags=aggregate.summary.all_tags, emitted=aggregate.completeness)
    changes: list[Change] = [*_failures(event, touched.values()), *_media_changes(event, after, touched.values())]
    if aggregate is not None:
        changes.append(aggregate)
    tasks = tuple(task for row in touched.values() for task in _tasks(event, row))
    again = tuple(_media_again(event, after, current))
    opened = None if done else _open(after, policy)
    return Folded(after, touched, opened, tasks, tuple(changes), again, _comparison(event, after, current), ignored)


def _gives(event: Event, post: Post) -> bool:
    """Whether a fact of a post that is whole, or was given as partial already, gives the aggregate: every one does; but
    that time passes says nothing new, except at the deadline, nor does it that the same people were found again."""
    match event:
        case Ticked():
            return _is_deadline(event, post) or finished(post)
        case Recognised():
            return recognises(event, post.media.get(event.media_id))
        case _:
            return not isinstance(event, Recheck)


def _is_deadline(event: Event, post: Post) -> bool:
    return isinstance(event, Ticked) and event.at == post.timed_out


def _current(post: Post, rows: Rows, at: int) -> bool:
    """Whether no row is ahead of this fact. One is while the log is replayed after a crash: then the aggregate would
    mix times under a revision that a true one has, and the fact the row has seen is still to come again."""
    ahead = (row for media_id in expected(post).media_ids if (row := rows(media_id)) is not None and row.seen > at)
    return post.seen <= at and next(ahead, None) is None


def _tasks(event: Event, row: Media) -> Iterable[Task]:
    """The attempts this fact issued and that are still out: first ones by a registration, further ones by a tick."""
    first = isinstance(event, Registered) and event.clock == row.brief.clock
    if not first and not (isinstance(event, Ticked) and row.brief.issued == event.at):
        return
    attempts = row.brief.attempts()
    for kind, services in KINDS.items():
        asked: dict[int, list[Service]] = {}
        for service in services:
            if (attempt := attempts.get(service)) is not None and (attempt == 1) is first:
                asked.setdefault(attempt, []).append(service)
        for attempt, those in asked.items():
            yield Task(
                kind=kind,
                post_id=row.post_id,
                media_id=row.media_id,
                url=row.url,
                generation=row.brief.generation,
                attempt=attempt,
                services=tuple(those),
            )


def _comparison(event: Event, post: Post, rows: Rows) -> Recognise | None:
    """With the known faces: the first one when faces are found, another one when a known face has changed since."""
    if not isinstance(event, Answered | Recheck) or event.media_id not in post.media:
        return None
    row = rows(event.media_id)
    found = None if row is None else row.detail("face_detection").insight
    if row is None or not isinstance(found, FaceDetection) or not any(face.embedding for face in found.faces):
        return None
    if isinstance(event, Answered):
        wanted = row.brief.faces is None and "face_detection" in _answered(event, row)
    else:
        wanted = row.brief.faces is None or row.brief.faces.known < event.known
    if not wanted:
        return None
    return Recognise(
        post_id=row.post_id,
        media_id=row.media_id,
        generation=row.brief.generation,
        faces=tuple(face.embedding for face in found.faces),
    )


def _failures(event: Event, touched: Iterable[Media]) -> Iterable[ServiceFailed]:
    """The services this failure was the last attempt of."""
    if not isinstance(event, Failed):
        return
    for row in touched:
        services = tuple(
            service
            for service in event.services
            if row.brief.generation == event.generation
            and row.brief.of(service) == FAILED
            and row.detail(service).failures == event.attempt
        )
        if services:
            yield service_failed(row, services, error=event.error, at=event.at)


def _media_again(event: Event, after: Post, rows: Rows) -> Iterable[MediaChanged]:
    """Every media of a post that was changed: what its row copies from the post is to be read again, or it left. Of a
    trigger at least those that it holds unsafe. A media whose faces were compared: whoever writes its rows sees to it
    that no known face has changed since (docs/adr/0013)."""
    concerned: Iterable[str] = ()
    if isinstance(event, Triggered):
        concerned = event.unsafe
    elif isinstance(event, Recognised) and _same_people(event, after.media.get(event.media_id)):
        concerned = (event.media_id,)
    if _changes_media(event, after):
        concerned = dict.fromkeys((*after.media, *after.gone))
    left = removed(after)
    for media_id in concerned:
        if (row := rows(media_id)) is not None:
            yield media_changed(after, row, removed=media_id in left)


def _same_people(event: Recognised, brief: Brief | None) -> bool:
    """Whether that was the last comparison of the media, and found who was found before."""
    if brief is None or brief.faces is None or brief.generation != event.generation:
        return False
    return brief.faces.known == event.known != brief.faces.since


def _changes_media(event: Event, after: Post) -> bool:
    """Whether this is an update, or the newest trigger where an update named media: it may bring some back."""
    match event:
        case Updated():
            return event.clock in {known.clock for known in (after.update, after.named) if known is not None} or (
                event.clock == after.floor
            )
        case Triggered():
            return after.named is not None and after.trigger is not None and event.clock == after.trigger.clock
        case _:
            return False


def _media_changes(event: Event, after: Post, touched: Iterable[Media]) -> Iterable[MediaChanged]:
    """Media this fact answered, or failed for good, or found people on; at the deadline every media that still lacks
    something."""
    left = removed(after)
    for row in touched:
        recognised = event.known if isinstance(event, Recognised) and _tells(event, row) else 0
        deadline = _is_deadline(event, after) and not row.brief.settled
        if not deadline and not recognised and not isinstance(event, Answered | Failed):
            continue
        answered = tuple(_answered(event, row))
        yield media_changed(after, row, answered=answered, removed=row.media_id in left, recognised=recognised)


def _tells(event: Recognised, row: Media) -> bool:
    """Whether that comparison changed who is on the media, or found somebody who is on it still: when the log is
    replayed behind a newer one, that is to be told once more."""
    if recognises(event, row.brief):
        return True
    found = () if row.recognition is None or row.brief.generation != event.generation else row.recognition.matches
    return any(match.since == event.known for match in found)


def _answered(event: Event, row: Media) -> Iterable[Service]:
    if isinstance(event, Answered) and event.generation == row.brief.generation:
        for insight in event.insights:
            if row.brief.of(service := service_of(insight)) == ANSWERED:
                yield service


def _open(post: Post, policy: Policy) -> OpenPost | None:
    """Until when an unfinished post can be left alone; None where time changes nothing any more."""
    dues = [brief.due for brief in post.media.values() if brief.due is not None]
    if not known(post):
        dues.append(post.opened_at + policy.quiet)
    if not post.timed_out:
        dues.append(due(post, policy))
    return OpenPost(since=post.opened_at, due=min(dues)) if dues else None
