"""Changes cut into parts: one for every row they touch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from streamapp.events import Change, MediaChanged, PostChanged, PostDeleted
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH


@dataclass(frozen=True, slots=True)
class Refused:
    """Why something can have no row."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The piece of a change that makes one row. `record` is enough to make it again."""

    table: str
    pk: int
    revision: int
    post_id: int
    media_id: int | None
    record: MediaChanged | PostChanged
    source: Change

    @property
    def key(self) -> tuple[str, int, int]:
        """With the post: revisions are a post's own, and two may name one media."""
        return self.table, self.pk, self.post_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A post, or one media of it, whose rows go unless a later revision made them."""

    post_id: int
    revision: int
    source: Change
    media_id: int | None = None  # None: the whole post


def split(change: Change) -> Iterator[Part | Deletion | Refused]:
    """The rows that a change touches. What media rows say of their post follows its row, in the database."""
    if isinstance(change, MediaChanged):
        yield _media_part(change)
    elif isinstance(change, PostChanged):
        yield _post_part(change)
    elif isinstance(change, PostDeleted):
        post_id = database_id(change.post_id)
        if post_id is None:
            yield Refused(_no_row("post", change.post_id))
        else:
            yield Deletion(post_id=post_id, revision=change.revision, source=change)


def database_id(text: str) -> int | None:
    """The id as a BIGINT, None unless it is written exactly as one: another text must never find this row."""
    if len(text) > 20 or not text.isascii() or not text.removeprefix("-").isdigit():
        return None
    number = int(text)
    return number if str(number) == text and -(2**63) <= number < 2**63 else None


def _no_row(what: str, text: str) -> str:
    return f"{what} id {text[:40]!r} is not a 64-bit decimal number: it can have no row"


def _media_part(change: MediaChanged) -> Part | Deletion | Refused:
    post_id, media_id = database_id(change.post_id), database_id(change.media.media_id)
    if post_id is None:
        return Refused(_no_row("post", change.post_id))
    if media_id is None:
        return Refused(_no_row("media", change.media.media_id))
    if change.removed:
        return Deletion(post_id=post_id, media_id=media_id, revision=change.revision, source=change)
    return Part(
        table=MEDIA_SEARCH,
        pk=media_id,
        revision=change.revision,
        post_id=post_id,
        media_id=media_id,
        record=change,
        source=change,
    )


def _post_part(change: PostChanged) -> Part | Refused:
    post_id = database_id(change.post_id)
    if post_id is None:
        return Refused(_no_row("post", change.post_id))
    record = msgspec.structs.replace(change, media=())  # of no use for the row
    return Part(
        table=POST_SEARCH,
        pk=post_id,
        revision=change.revision,
        post_id=post_id,
        media_id=None,
        record=record,
        source=change,
    )
