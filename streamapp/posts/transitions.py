"""What a fact does to what is known of a post. A fact already known, or older than what is known, changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from streamapp.events import (
    Answered,
    Event,
    Failed,
    Registered,
    Service,
    Ticked,
    Triggered,
    Updated,
    service_of,
)
from streamapp.posts.clock import newer
from streamapp.posts.expected import finished
from streamapp.posts.policy import Policy
from streamapp.posts.state import Media, Post, Request, Slot

Rows = Callable[[str], Media | None]
"""The row of a media of the post by its id; None where it was never registered."""


class Step(msgspec.Struct, frozen=True):
    """The post after a fact and the media rows the fact concerns. `ignored` says why it changed nothing."""

    post: Post
    touched: dict[str, Media] = {}
    ignored: str | None = None


def apply(post: Post, rows: Rows, event: Event, policy: Policy) -> Step:
    """State after event."""
    match event:
        case Registered():
            return _registered(post, rows, event, policy)
        case Triggered() | Updated():
            return _requested(post, event)
        case Ticked():
            return _ticked(post, rows, event, policy)
        case Answered() | Failed():
            row = rows(event.media_id)
            if post.deleted is not None:
                return Step(post, {}, "the post was deleted")
            if row is None:
                return Step(post, {}, "the media is not registered")
            return _changed(
                post, row, _answered(row, event) if isinstance(event, Answered) else _failed(row, event, policy)
            )


def _changed(post: Post, before: Media | None, row: Media) -> Step:
    """The post with a media row as a fact left it. The fact counts when the row did not know it, nor the post.

    Either of the two rows may be behind the other after a crash, so each is asked, and the revision is never below
    one that was already given out.
    """
    known = post.media.get(row.media_id)
    brief = row.brief if known is None else known.join(row.brief)
    counts = before is not row and brief != known
    revision = max(post.revision, before.revision if before is not None else 0) + counts
    if before is not row:
        row = replace(row, revision=revision)
    after = replace(post, revision=revision, media={**post.media, row.media_id: brief})
    return Step(after, {row.media_id: row}, None if counts else "already known, or of another generation")


def _registered(post: Post, rows: Rows, event: Registered, policy: Policy) -> Step:
    known = rows(event.media_id)
    if known is not None and newer(known.clock, event.clock):
        return Step(post, {known.media_id: known}, "a newer registration is known")
    if not newer(event.clock, post.deleted):
        return Step(post, {}, "the post was deleted later")
    if post.deleted is not None:  # posted again: nothing of before counts
        post = replace(post, deleted=None, media={}, tags=(), emitted=None)
    row = known if known is not None and known.clock == event.clock else _row(event, policy)
    step = _changed(post, known, row)
    if step.post.media == post.media:
        return step
    return Step(_opened(step.post, row.at), step.touched, step.ignored)


def _row(event: Registered, policy: Policy) -> Media:
    generation = f"{event.clock}/{policy.model}"
    return Media(
        post_id=event.post_id,
        media_id=event.media_id,
        url=event.url,
        clock=event.clock,
        correlation_id=event.correlation_id,
        at=event.at,
        slots={service: Slot(generation, event.at) for service in policy.services},
        position=event.position,
        user_id=event.user_id,
        job_id=event.job_id,
    )


def _opened(post: Post, at: int) -> Post:
    return replace(post, opened_at=max(post.opened_at, at), quiet=False, timed_out=False)


def _requested(post: Post, event: Triggered | Updated) -> Step:
    known = post.trigger if isinstance(event, Triggered) else post.update
    if known is not None and not newer(event.clock, known.clock):
        return Step(post, {}, None if event.clock == known.clock else "a newer one is known")
    revision = post.revision + 1
    request = Request(
        clock=event.clock,
        at=event.at,
        correlation_id=event.correlation_id,
        revision=revision,
        media_ids=event.media_ids or None,
    )
    if isinstance(event, Triggered):
        post = replace(post, revision=revision, trigger=replace(request, total=event.total))
    else:
        post = replace(post, revision=revision, update=request)
        if event.deleted and all(newer(event.clock, brief.clock) for brief in post.media.values()):
            return Step(replace(post, deleted=event.clock))
    return Step(post if finished(post) else _opened(post, event.at))


def _answered(row: Media, event: Answered) -> Media:
    """The first answer of a slot's generation counts; one that had failed for good is corrected."""
    slots = dict(row.slots)
    for insight in event.insights:
        slot = slots.get(service := service_of(insight))
        if slot is not None and slot.generation == event.generation and slot.insight is None:
            slots[service] = Slot(
                slot.generation,
                slot.issued,
                failures=slot.failures,
                insight=insight,
                model=event.model,
                answered_at=event.at,
            )
    return row if slots == row.slots else replace(row, slots=slots)


def _failed(row: Media, event: Failed, policy: Policy) -> Media:
    slots = dict(row.slots)
    for service in event.services:
        if (slot := slots.get(service)) is not None and _is_out(slot, event):
            slots[service] = _after_failure(slot, event, policy)
    return row if slots == row.slots else replace(row, slots=slots)


def _is_out(slot: Slot, event: Failed) -> bool:
    """Whether the attempt that failed is the one that is out: not an earlier one, told again."""
    return slot.generation == event.generation and slot.is_out and slot.failures + 1 == event.attempt


def _after_failure(slot: Slot, event: Failed, policy: Policy) -> Slot:
    final = event.permanent or event.attempt >= policy.attempts
    return replace(
        slot,
        failures=event.attempt,
        error=event.error,
        error_at=event.at,
        failed=final,
        due=None if final else event.at + policy.backoff(event.attempt),
    )


def _ticked(post: Post, rows: Rows, event: Ticked, policy: Policy) -> Step:
    """Time is a fact: the quiet period and the timeout end, and attempts that are due are issued."""
    post = replace(post, quiet=post.quiet or event.at >= post.opened_at + policy.quiet)
    if event.at >= post.opened_at + policy.timeout and not finished(post):
        post = replace(post, timed_out=True)
    touched = {
        media_id: _issued(row, event.at)
        for media_id, brief in post.media.items()
        if not brief.settled and (row := rows(media_id)) is not None
    }
    media = {media_id: post.media[media_id].join(row.brief) for media_id, row in touched.items()}
    return Step(replace(post, media={**post.media, **media}), touched)


def _issued(row: Media, at: int) -> Media:
    slots: dict[Service, Slot] = {
        service: replace(slot, issued=at, due=None) if slot.due is not None and slot.due <= at else slot
        for service, slot in row.slots.items()
    }
    return replace(row, slots=slots)
