"""What a fact does to what is known of a post: to its own row, and to the rows of the media it concerns.

Each row is moved by the facts alone, never by the other rows, and by each fact once: so every row is a function of the
log up to the position it has seen.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from streamapp.events import (
    Answered,
    Event,
    Failed,
    Recheck,
    Recognised,
    Recognition,
    Registered,
    Ticked,
    Triggered,
    Updated,
)
from streamapp.insights import KINDS, Kind, Service, service_of
from streamapp.posts.brief import Brief, advance, said
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
        case Recognised() | Recheck():
            return _compared(post, event, at, policy)


def _compared(post: Post, event: Recognised | Recheck, at: int, policy: Policy) -> tuple[Post, str | None]:
    """Only who is found anew is seen, for only that gives the aggregate: what gives none must not hide, when the log is
    replayed after a crash, that an earlier fact was to give it. Versions tell what is repeated."""
    brief = post.media.get(event.media_id)
    if post.deleted is not None or brief is None:
        return post, "the media is not registered, or the post was deleted"
    if isinstance(event, Recheck):  # what comes of it is another fact
        return post, None
    after = advance(brief, event, policy)
    if after is None or after is brief:
        return post, "compared with these known faces before, or of another generation"
    if not recognises(event, after):
        return replace(post, media={**post.media, event.media_id: after}), None
    return _counted(replace(post, seen=at), event.media_id, after), None


def recognises(event: Recognised, brief: Brief | None) -> bool:
    """Whether that comparison, and none before it, found who is on the media."""
    return (
        brief is not None
        and brief.generation == event.generation
        and brief.faces is not None
        and brief.faces.since == event.known
    )


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
    return replace(post, opened_at=max(post.opened_at, at), quiet=False, timed_out=0, put_off=0)


def _requested(post: Post, event: Triggered | Updated) -> tuple[Post, str | None]:
    if not newer(event.clock, post.floor):
        return post, "the post was deleted later"
    after = _triggered(post, event) if isinstance(event, Triggered) else _updated(post, event)
    if after is None:
        return post, "this request, or a newer one, is known"
    after = replace(after, revision=post.revision + 1)
    if isinstance(event, Updated) and event.deleted:
        return _deleted(after, event.clock), None
    same = post.opened_at and expected(after)[:3] == expected(post)[:3]
    return (after if same or finished(after) else _opened(after, event.at)), None


def _triggered(post: Post, event: Triggered) -> Post | None:
    """The newest trigger counts; what any of them knew to be unsafe stays so."""
    newest = post.trigger is None or newer(event.clock, post.trigger.clock)
    unsafe = tuple(sorted({*post.unsafe, *event.unsafe}))
    if not newest and unsafe == post.unsafe:
        return None
    request = replace(_request(post, event), media_ids=event.media_ids or None, total=event.total)
    return replace(post, unsafe=unsafe, trigger=request if newest else post.trigger)


def _updated(post: Post, event: Updated) -> Post | None:
    """The newest update counts, and for the media the newest one that names them."""
    newest = post.update is None or newer(event.clock, post.update.clock)
    names = event.media_ids is not None and (post.named is None or newer(event.clock, post.named.clock))
    if not (newest or names or event.deleted):
        return None
    request = _request(post, event)
    return replace(post, update=request if newest else post.update, named=request if names else post.named)


def _request(post: Post, event: Triggered | Updated) -> Request:
    return Request(
        clock=event.clock,
        at=event.at,
        correlation_id=event.correlation_id,
        revision=post.revision + 1,
        media_ids=event.media_ids,
    )


def _deleted(post: Post, clock: str) -> Post:
    """Nothing registered or asked before the deletion counts; what was registered after it makes the post anew."""
    if post.trigger is not None and not newer(post.trigger.clock, clock):
        post = replace(post, trigger=None, unsafe=())
    if post.named is not None and not newer(post.named.clock, clock):
        post = replace(post, named=None)
    kept = {media_id: brief for media_id, brief in post.media.items() if newer(brief.clock, clock)}
    if kept:
        gone = tuple(media_id for media_id in post.media if media_id not in kept)
        return replace(post, media=kept, floor=clock, gone=gone)
    return replace(post, deleted=clock, floor=clock)


def _ticked(post: Post, event: Ticked, policy: Policy) -> Post:
    """Time is a fact: the quiet period and the timeout end, and attempts that are due are issued."""
    media = {media_id: advance(brief, event, policy) or brief for media_id, brief in post.media.items()}
    post = replace(post, media=media, quiet=post.quiet or event.at >= post.opened_at + policy.quiet)
    if event.at < due(post, policy) or finished(post):
        return post
    limit = post.opened_at + policy.max_wait
    if event.at < limit and _behind(post, event.behind):
        # The longer it took already, the less often: a tenth of it is what the answer may be late in the end.
        patience = max(policy.patience, (event.at - post.opened_at) // 10)
        return replace(post, put_off=min(event.at + patience, limit))
    return post if post.timed_out else replace(post, timed_out=event.at)


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
    if isinstance(event, Recheck):
        return _let_go(post, rows(event.media_id), at)
    if post.deleted is not None:
        return {}
    match event:
        case Registered() | Answered() | Failed() | Recognised():
            if event.media_id not in post.media:
                return {}
            row = _moved(rows(event.media_id), event, at, policy)
            return {} if row is None else {row.media_id: row}
        case Ticked():
            unsettled = [row for m, brief in post.media.items() if not brief.settled and (row := rows(m)) is not None]
            # A row that time does not move need not be written. At the deadline all are given out.
            deadline = post.timed_out == event.at
            concerned = [row for row in unsettled if deadline or at <= row.seen or _is_due(row.brief, event)]
            moved = [_moved(row, event, at, policy) for row in concerned]
            return {row.media_id: row for row in moved if row is not None}
        case _:
            return {}


def _let_go(post: Post, row: Media | None, at: int) -> dict[str, Media]:
    """Who is on a media that is no longer of the post: nobody compares its faces again, so nobody is."""
    if row is None or row.recognition is None or at <= row.seen:
        return {}
    if post.deleted is None and row.media_id in post.media:  # what comes of it is another fact
        return {}
    return {row.media_id: replace(row, recognition=None)}


def _is_due(brief: Brief, event: Ticked) -> bool:
    return brief.due is not None and brief.due <= event.at


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
    if isinstance(event, Recognised):
        if brief is before:
            return row
        seen = at if recognises(event, brief) else row.seen  # as with the post
        return replace(row, brief=brief, seen=seen, recognition=_recognition(row.recognition, event))
    return replace(row, brief=brief, seen=at, details={**row.details, **_details(row, before, brief, event)})


def _recognition(before: Recognition | None, event: Recognised) -> Recognition:
    """What was found before too is so since then, and under the name that was told then."""
    known = {} if before is None else {said(match): match for match in before.matches}
    matches = tuple(known.get(said(match)) or replace(match, since=event.known) for match in event.matches)
    return Recognition(known=event.known, at=event.at, matches=matches)


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
