"""What must be in rows and streams, from the state of a post: made by what makes it, so it is the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from streamapp.contracts import DIALECTS, Message, write
from streamapp.insights import SERVICES
from streamapp.posts.aggregate import post_changed
from streamapp.posts.brief import ANSWERED, FAILED, Brief
from streamapp.posts.expected import expected, finished, has_media, removed
from streamapp.posts.state import Media, Post
from streamapp.posts.view import media_changed, service_failed
from streamapp.sinks.parts import Part, Refused, split
from streamapp.verify.findings import Difference


class Known(NamedTuple):
    """What the state has of a post; `post` is None where it has nothing."""

    post_id: str
    post: Post | None = None
    media: Mapping[str, Media] = {}

    @property
    def alive(self) -> Post | None:
        """The post, unless it was deleted."""
        return self.post if self.post is not None and self.post.deleted is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRow:
    """A row. `settled`: it was written with the last fact of its post, so that its revision is the post's.

    Not `whole`: an earlier aggregate made it, of which the state keeps only that there was one.
    Not `required`: the row may be there.
    """

    part: Part
    settled: bool
    whole: bool
    required: bool


class WantedMessage(NamedTuple):
    """A message that must be in its stream once; `at`: it was not written before (ms since the epoch)."""

    message: Message
    media_id: str | None
    at: int


def settled(post: Post) -> bool:
    """Whether every further fact gives the aggregate again, as the last one did."""
    return has_media(post) and (bool(post.timed_out) or finished(post))


def announced(post: Post, row: Media) -> bool:
    """Whether a change has said what the media is now. After a registration none has, until an answer or the end of
    the timeout; what was written before it stays."""
    return bool(row.details) or (bool(post.timed_out) and not row.brief.settled)


def rows(known: Known) -> Iterator[WantedRow | Refused]:
    """The rows of a post and its media."""
    if (post := known.alive) is None:
        return
    if (whole := settled(post)) or post.emitted is not None:
        for piece in split(post_changed(post, known.media.get)):
            yield from _wanted(piece, settled=whole, whole=whole, required=True)
    given, left = expected(post).media_ids, removed(post)
    for media_id, row in known.media.items():
        if media_id not in left and announced(post, row):
            for piece in split(media_changed(post, row)):
                yield from _wanted(piece, settled=False, whole=True, required=media_id in given)


def _wanted(piece: object, *, settled: bool, whole: bool, required: bool) -> Iterable[WantedRow | Refused]:
    if isinstance(piece, Part):
        yield WantedRow(part=piece, settled=settled, whole=whole, required=required)
    elif isinstance(piece, Refused):
        yield piece


def aggregate(known: Known, dialect: str) -> tuple[Message, int] | None:
    """The last aggregate, and the time of its newest fact; None where the state no longer says what it was."""
    if (post := known.alive) is None or not settled(post):
        return None
    change = post_changed(post, known.media.get)
    (message,) = write(change, dialect=dialect)
    return message, change.at


def messages(known: Known, dialect: str) -> list[WantedMessage]:
    """The results of the media in their current generation; the aggregate is not among them."""
    found: list[WantedMessage] = []
    if (post := known.alive) is not None:
        for row in known.media.values():
            if announced(post, row):
                found += _answers(post, row, dialect)
                found += _failures(row, dialect)
                found += _people(post, row, dialect)
    return found


def _answers(post: Post, row: Media, dialect: str) -> Iterator[WantedMessage]:
    answered = tuple(service for service in SERVICES if row.brief.of(service) == ANSWERED)
    change = media_changed(post, row, answered=answered)
    if DIALECTS[dialect].combined:
        for message in write(change, dialect=dialect):
            yield WantedMessage(message, row.media_id, row.at)
        return
    for service in change.answered:  # one by one: each was written at a time of its own
        for message in write(replace(change, answered=(service,)), dialect=dialect):
            yield WantedMessage(message, row.media_id, row.detail(service).answered_at or row.at)


def _failures(row: Media, dialect: str) -> Iterator[WantedMessage]:
    for service in SERVICES:
        if row.brief.of(service) == FAILED:
            detail = row.detail(service)
            at = detail.error_at or row.at
            failure = service_failed(row, (service,), error=detail.error or "", at=at)
            for message in write(failure, dialect=dialect):
                yield WantedMessage(message, row.media_id, at)


def _people(post: Post, row: Media, dialect: str) -> Iterator[WantedMessage]:
    """Who was found on a media: versions of the known faces are microseconds."""
    found = () if row.recognition is None else row.recognition.matches
    for version in dict.fromkeys(match.since for match in found):
        for message in write(media_changed(post, row, recognised=version), dialect=dialect):
            yield WantedMessage(message, row.media_id, version // 1000)


def inconsistencies(known: Known) -> Iterator[Difference]:
    """The post's row and the rows of its media are moved by the same facts: what they say must be the same."""
    if (post := known.alive) is None:
        return
    for media_id, brief in post.media.items():
        row = known.media.get(media_id)
        ids = {"post": post.post_id, "media": media_id}
        if row is None:
            yield Difference(kind="missing", where="state media", expected="the post has it", **ids)
        elif (expected := _progress(brief)) != (found := _progress(row.brief)):
            yield Difference(kind="state", where="state media", field="progress", expected=expected, found=found, **ids)


def _progress(brief: Brief) -> tuple[object, ...]:
    """When to try again is left out: of a media that has all its answers nobody keeps it."""
    return brief.clock, brief.model, brief.progress, brief.faces
