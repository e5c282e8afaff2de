"""What a fact does to what is known of a post: to its own row, and to the rows of the media it concerns.

Each row is moved by the facts alone, never by the other rows, and by each fact once: so every row is a function of the
log up to the position it has seen.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from streamapp.events import (
    KINDS,
    Answered,
    Event,
    Failed,
    Kind,
    Registered,
    Service,
    Ticked,
    Triggered,
    Updated,
    service_of,
)
from streamapp.posts.brief import Brief, advance
from streamapp.posts.clock import newer
from streamapp.posts.expected import expected, finished
from streamapp.posts.policy import Policy
from streamapp.posts.state import Detail, Media, Post, Request

Rows = Callable[[str], Media | None]
"""The row of a media of the post by its id; None where it was never registered."""


def move_post(post: Post, event: Event, at: int, policy: Policy) -> tuple[Post, str | None]:
    """The post's row after the fact at position `at`, and why the fact said nothing new (None: it did)."""
    if at <= post.seen:
        return post, "replayed"
    seen = replace(post, seen=at)
    match event:
        case Triggered() | Updated():
            return _requested(seen, event)
        case Ticked():
            return _ticked(seen, event, policy), None
        case Registered():
            return _registered(seen, event, policy)
        case Answered() | Failed():
            if post.deleted is not None:
                return seen, "the post was deleted"
            brief = post.media.get(event.media_id)
            after = advance(brief, event, policy)
            if brief is None or after is None:
                return seen, "the media is not registered"
            if after is brief:
                return seen, "already known, or of another generation"
            return _counted(seen, event.media_id, after), None


def _counted(post: Post, media_id: str, brief: Brief) -> Post:
    return replace(post, revision=post.revision + 1, media={**post.media, media_id: brief})


def _registered(post: Post, event: Registered, policy: Policy) -> tuple[Post, str | None]:
    if not newer(event.clock, post.floor):
        return post, "the post was deleted later"
    if post.deleted is not None:  # posted again: nothing of before counts
        post = replace(post, deleted=None, media={}, tags=(), emitted=None)
    brief = post.media.get(event.media_id)
    after = advance(brief, event, policy)
    if after is brief or after is None:
        return post, "this registration, or a newer one, is known"
    return _opened(_counted(post, event.media_id, after), event.at), None


def _opened(post: Post, at: int) -> Post:
    return replace(post, opened_at=max(post.opened_at, at), quiet=False, timed_out=False, put_off=0)


def _requested(post: Post, event: Triggered | Updated) -> tuple[Post, str | None]:
    if not newer(event.clock, post.floor):
        return post, "the post was deleted later"
    known = post.trigger if isinstance(event, Triggered) else post.update
    if known is not None and not newer(event.clock, known.clock):
        return post, "this request, or a newer one, is known"
    revision = post.revision + 1
    request = Request(
        clock=event.clock,
        at=event.at,
        correlation_id=event.correlation_id,
        revision=revision,
    )
    if isinstance(event, Triggered):
        request = replace(request, media_ids=event.media_ids or None, total=event.total, unsafe=event.unsafe)
        post = replace(post, revision=revision, trigger=request)
    else:
        post = replace(post, revision=revision, update=replace(request, media_ids=event.media_ids))
        if event.deleted:
            return _deleted(post, event.clock), None
    return (post if finished(post) else _opened(post, event.at)), None


def _deleted(post: Post, clock: str) -> Post:
    """Nothing registered or asked before the deletion counts; what was registered after it makes the post anew."""
    kept = {media_id: brief for media_id, brief in post.media.items() if newer(brief.clock, clock)}
    if post.trigger is not None and not newer(post.trigger.clock, clock):
        post = replace(post, trigger=None)
    if kept:
        return replace(
            post, media=kept, floor=clock, gone=tuple(media_id for media_id in post.media if media_id not in kept)
        )
    return replace(post, deleted=clock, floor=clock)


def _ticked(post: Post, event: Ticked, policy: Policy) -> Post:
    """Time is a fact: the quiet period and the timeout end, and attempts that are due are issued."""
    media = {media_id: advance(brief, event, policy) or brief for media_id, brief in post.media.items()}
    post = replace(post, media=media, quiet=post.quiet or event.at >= post.opened_at + policy.quiet)
    if event.at < due(post, policy) or finished(post):
        return post
    limit = post.opened_at + policy.max_wait
    if event.at < limit and _behind(post, event.behind):
        return replace(post, put_off=min(event.at + policy.patience, limit))
    return replace(post, timed_out=True)


def due(post: Post, policy: Policy) -> int:
    """When the timeout ends."""
    return max(post.opened_at + policy.timeout, post.put_off)


def _behind(post: Post, behind: tuple[Kind, ...]) -> bool:
    """Whether all that is missing waits in a backlog."""
    wanted = expected(post)
    queued = {service for kind in behind for service in KINDS[kind]}
    missing = {service for media_id in wanted.media_ids for service in post.media[media_id].unsettled}
    return wanted.known and not wanted.unseen and not wanted.absent and bool(missing) and missing <= queued


def move_media(post: Post, rows: Rows, event: Event, at: int, policy: Policy) -> dict[str, Media]:
    """The media rows the fact concerns, after it. `post` is the post's row after the fact."""
    if post.deleted is not None:
        return {}
    match event:
        case Registered() | Answered() | Failed():
            if event.media_id not in post.media:
                return {}
            row = _moved(rows(event.media_id), event, at, policy)
            return {} if row is None else {row.media_id: row}
        case Ticked():
            unsettled = [rows(media_id) for media_id, brief in post.media.items() if not brief.settled]
            moved = [_moved(row, event, at, policy) for row in unsettled if row is not None]
            return {row.media_id: row for row in moved if row is not None}
        case _:
            return {}


def _moved(row: Media | None, event: Event, at: int, policy: Policy) -> Media | None:
    if row is not None and at <= row.seen:
        return row
    before = None if row is None else row.brief
    brief = advance(before, event, policy)
    if brief is None:
        return None
    if isinstance(event, Registered) and brief is not before:
        return Media(
            post_id=event.post_id,
            media_id=event.media_id,
            url=event.url,
            correlation_id=event.correlation_id,
            at=event.at,
            brief=brief,
            seen=at,
            position=event.position,
            user_id=event.user_id,
            job_id=event.job_id,
        )
    assert row is not None  # it has a brief, and only a registration makes one
    assert before is not None
    return replace(row, brief=brief, seen=at, details={**row.details, **_details(row, before, brief, event)})


def _details(row: Media, before: Brief, after: Brief, event: Event) -> dict[Service, Detail]:
    """What the services said whose progress this fact moved."""
    if isinstance(event, Answered):
        return {
            service: replace(row.detail(service), insight=insight, model=event.model, answered_at=event.at)
            for insight in event.insights
            if after.of(service := service_of(insight)) != before.of(service)
        }
    if isinstance(event, Failed):
        return {
            service: replace(row.detail(service), failures=event.attempt, error=event.error, error_at=event.at)
            for service in event.services
            if after.of(service) != before.of(service)
        }
    return {}
