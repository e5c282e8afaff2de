"""What is kept of a post: one small row for the post, one row per media, one row while it is unfinished.

Each row carries the position in the log of the last fact it has seen, so that after a crash, when rows may be of
different times, a replayed fact moves only the rows that have not seen it.
"""

from __future__ import annotations

import json

import msgspec

from streamapp.events import Recognition
from streamapp.insights import Insight, Service
from streamapp.posts.brief import Brief
from streamapp.posts.clock import newer


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one service of a media said last. Times are milliseconds."""

    insight: Insight | None = None
    model: str | None = None
    answered_at: int | None = None
    failures: int = 0
    error: str | None = None
    error_at: int | None = None


class Media(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered media: row of the table `media`, key `["postId","mediaId"]`."""

    post_id: str
    media_id: str
    url: str
    correlation_id: str
    at: int
    brief: Brief
    seen: int  # position of the last fact in the log
    details: dict[Service, Detail] = {}
    position: int | None = None
    user_id: str | None = None
    job_id: str | None = None
    recognition: Recognition | None = None

    def detail(self, service: Service) -> Detail:
        """What a service said, empty when nothing."""
        return self.details.get(service) or Detail()


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """The trigger, or an update, with the greatest clock; `revision` is the post's when it was accepted."""

    clock: str
    at: int
    correlation_id: str | None
    revision: int
    media_ids: tuple[str, ...] | None = None  # None: not named; empty: the post has none (left)
    total: int | None = None


class Post(msgspec.Struct, frozen=True, omit_defaults=True):
    """A post: row of the table `posts`, key = post id."""

    post_id: str
    seen: int = -1  # position of the last fact in the log
    revision: int = 0  # accepted facts; only grows
    opened_at: int = 0  # of the latest registration, trigger or change of the media set
    media: dict[str, Brief] = {}
    trigger: Request | None = None
    update: Request | None = None
    named: Request | None = None  # the newest update that named media
    unsafe: tuple[str, ...] = ()  # media that any trigger knew to be unsafe
    deleted: str | None = None  # clock of the deletion, while nothing was registered after it
    floor: str | None = None  # clock of the last deletion: nothing registered or asked before it counts
    gone: tuple[str, ...] = ()  # media of before the last deletion, where others of after it were known already
    quiet: bool = False  # no media was added for POST_QUIET_SECONDS
    timed_out: int = 0  # time of the tick at which POST_TIMEOUT_SECONDS had passed with something unanswered
    put_off: int = 0  # until when a backlog has put the timeout off
    tags: tuple[str, ...] = ()  # of the last aggregate
    emitted: str | None = None  # completeness of the last aggregate

    @property
    def chosen(self) -> Request | None:
        """What names the media of this post: the trigger or an update, whichever is newer."""
        trigger, named = self.trigger, self.named
        if trigger is None or trigger.media_ids is None:
            return named
        return trigger if named is None or newer(trigger.clock, named.clock) else named


class OpenPost(msgspec.Struct, frozen=True, omit_defaults=True):
    """An unfinished post: row of the table `open_posts`, key = post id. `due` is when to look at it again."""

    since: int
    due: int | None = None


def media_key(post_id: str, media_id: str) -> str:
    """The key of a media row: JSON, so that any two ids give one key only."""
    return json.dumps([post_id, media_id], ensure_ascii=False, separators=(",", ":"))
