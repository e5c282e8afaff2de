"""What is kept of a post: one small row for the post, one row per media, one row while it is unfinished."""

from __future__ import annotations

import json

import msgspec

from streamapp.events import SERVICES, Insight, Service
from streamapp.posts.clock import newer


class Slot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One service of one media: issued, waiting for another attempt, answered, or failed for good.

    Times are milliseconds. `issued` is the time of the fact that issued the attempt that is out, which is how a
    replay of that fact knows to issue it again.
    """

    generation: str
    issued: int
    failures: int = 0
    due: int | None = None  # when the next attempt is to be issued; None: one is out, or none is needed
    failed: bool = False
    error: str | None = None
    error_at: int | None = None
    insight: Insight | None = None
    model: str | None = None
    answered_at: int | None = None

    @property
    def is_out(self) -> bool:
        """Whether an attempt was issued and has not come back."""
        return self.insight is None and not self.failed and self.due is None

    @property
    def progress(self) -> int:
        """How far this slot is: a number that only grows, whatever order its facts come in.

        2n: an attempt is out after n failures; 2n-1: the n-th failed, the next one is waited for; then failed for
        good, then answered (which corrects a failure).
        """
        if self.insight is not None:
            return ANSWERED
        if self.failed:
            return FAILED
        return 2 * self.failures - (self.due is not None)


FAILED, ANSWERED = 1000, 1001  # above any number of attempts


class Media(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered media: row of the table `media`, key `["postId","mediaId"]`."""

    post_id: str
    media_id: str
    url: str
    clock: str
    correlation_id: str
    at: int
    slots: dict[Service, Slot]
    revision: int = 0  # the post's when this row was last changed by a fact
    position: int | None = None
    user_id: str | None = None
    job_id: str | None = None

    @property
    def ordered(self) -> list[tuple[Service, Slot]]:
        """The slots in the order of the services, whatever order they were stored in."""
        return [(service, self.slots[service]) for service in SERVICES if service in self.slots]

    @property
    def brief(self) -> Brief:
        """What the post's own row keeps of this media."""
        dues = [slot.due for slot in self.slots.values() if slot.due is not None]
        return Brief(self.clock, tuple(slot.progress for _, slot in self.ordered), min(dues, default=None))


class Brief(msgspec.Struct, frozen=True, array_like=True):
    """A media in its post's row: a few bytes, so that the cost of a fact does not grow with the post."""

    clock: str
    progress: tuple[int, ...]
    due: int | None = None

    @property
    def settled(self) -> bool:
        """Whether each service has answered or failed for good."""
        return all(slot >= FAILED for slot in self.progress)

    def join(self, other: Brief) -> Brief:
        """The further of two: the later registration, of one registration the further slots.

        After a crash the rows of a post and of its media may be of different times; joined they only ever grow.
        """
        if self.clock != other.clock:
            return other if newer(other.clock, self.clock) else self
        progress = tuple(map(max, self.progress, other.progress))
        return self if progress == self.progress else Brief(self.clock, progress, other.due)


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """The trigger, or an update, with the greatest clock; `revision` is the post's when it was accepted."""

    clock: str
    at: int
    correlation_id: str
    revision: int
    media_ids: tuple[str, ...] | None = None
    total: int | None = None


class Post(msgspec.Struct, frozen=True, omit_defaults=True):
    """A post: row of the table `posts`, key = post id."""

    post_id: str
    revision: int = 0  # accepted facts; only grows
    opened_at: int = 0  # of the latest registration, trigger or change of the media set
    media: dict[str, Brief] = {}
    trigger: Request | None = None
    update: Request | None = None
    deleted: str | None = None  # clock of the deletion
    quiet: bool = False  # no media was added for POST_QUIET_SECONDS
    timed_out: bool = False  # POST_TIMEOUT_SECONDS passed with something unanswered
    tags: tuple[str, ...] = ()  # of the last aggregate
    emitted: str | None = None  # completeness of the last aggregate

    @property
    def chosen(self) -> Request | None:
        """What names the media of this post: the update or the trigger, whichever is newer."""
        named = [r for r in (self.trigger, self.update) if r is not None and (r.media_ids or r.total)]
        if len(named) == 2:
            return named[0] if newer(named[0].clock, named[1].clock) else named[1]
        return named[0] if named else None


class OpenPost(msgspec.Struct, frozen=True, omit_defaults=True):
    """An unfinished post: row of the table `open_posts`, key = post id. `due` is when to look at it again."""

    since: int
    due: int | None = None


def media_key(post_id: str, media_id: str) -> str:
    """The key of a media row: JSON, so that any two ids give one key only."""
    return json.dumps([post_id, media_id], ensure_ascii=False, separators=(",", ":"))
