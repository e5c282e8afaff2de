"""The values of rows: pure functions of a part of a change and of the backend's rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from streamapp.events import PostChanged
from streamapp.sinks.fitting import fit
from streamapp.sinks.media_rows import BackendRow, MediaRows, media_rows
from streamapp.sinks.media_rows import Values as Values
from streamapp.sinks.parts import Part, Refused
from streamapp.sinks.people import People
from streamapp.sinks.readmodels import POST_SEARCH


@dataclass(frozen=True, slots=True)
class Awaited:
    """The row of the backend that is not there yet: the name of its table."""

    table: str


@dataclass(slots=True)
class Batch:
    """Parts, sorted by what can be done with them. `settled` await nothing any more, `media` are those among them that
    have rows: in a table where a media may have none, no row is a row too."""

    rows: dict[str, list[Values]] = field(default_factory=dict)  # by table
    media: list[Part] = field(default_factory=list)
    settled: list[Part] = field(default_factory=list)
    awaiting: list[tuple[Part, str]] = field(default_factory=list)  # the backend's table that lacks a row
    refused: list[tuple[Part, str]] = field(default_factory=list)  # the reason
    faceless: list[tuple[Part, str]] = field(default_factory=list)  # a face without a row, and why
    unfit: list[tuple[Part, str]] = field(default_factory=list)  # a value that a row goes without, or has only cut


def sort(
    parts: Iterable[Part],
    posts: Mapping[int, BackendRow],
    media: Mapping[tuple[int, int], BackendRow],
    *,
    width: int,
    face_width: int = 1024,
    people: People = MappingProxyType({}),
) -> Batch:
    """Make the rows. `posts` and `media` are rows of the queries of these names, by id, those of media by the id of the
    post that names it and by its own; all posts are there."""
    batch = Batch()
    for part in parts:
        post = posts[part.post_id]
        medium = None if part.media_id is None else media.get((part.post_id, part.media_id))
        if _gone(part, post) or (medium is not None and _gone(part, medium)):
            batch.settled.append(part)
            continue
        made = rows(part, post, medium, width=width, face_width=face_width, people=people)
        if isinstance(made, Awaited):
            batch.awaiting.append((part, made.table))
        elif isinstance(made, Refused):
            batch.refused.append((part, made.reason))
        else:
            batch.settled.append(part)
            if part.media_id is not None:
                batch.media.append(part)
            unfit = made.unfit
            for table, values in made.rows.items():
                unfit += [why for row in values for why in fit(table, row)]
                batch.rows.setdefault(table, []).extend(values)
            batch.faceless += [(part, why) for why in made.faceless]
            batch.unfit += [(part, why) for why in dict.fromkeys(unfit)]
    return batch


def _gone(part: Part, deleted: BackendRow) -> bool:
    return deleted["deleted"] is not None and part.revision <= deleted["deleted"]


def rows(
    part: Part,
    post: BackendRow,
    media: BackendRow | None,
    *,
    width: int,
    face_width: int = 1024,
    people: People = MappingProxyType({}),
) -> MediaRows | Awaited | Refused:
    """The values of our columns by table. `post` is a row of the query `posts`, `media` of the query `media`; the
    widths are those of image and face vectors."""
    if post["user_id"] is None:
        return Awaited("posts")
    if post["username"] is None:
        return Awaited("users")
    if isinstance(part.record, PostChanged):
        return MediaRows({POST_SEARCH: [_post_row(part.record, part, post)]})
    if media is None or media["post_id"] is None:
        return Awaited("post_media")
    if media["post_id"] != part.post_id:
        return Refused(f"media {part.pk} belongs to post {media['post_id']}, not to {part.post_id}")
    return media_rows(part.record.media, part, post, media, width=width, face_width=face_width, people=people)


def _post_row(change: PostChanged, part: Part, post: BackendRow) -> Values:
    summary = change.summary
    return {
        "post_id": part.pk,
        "author_id": post["user_id"],
        "author_username": post["username"],
        "author_full_name": post["full_name"],
        "author_department": post["department"],
        "title": post["title"],
        "body": post["body"],
        "total_media": summary.media_count,
        "total_images": summary.media_count,  # what is not an image is never looked at
        "all_ai_tags": summary.all_tags,
        "all_ai_scenes": summary.all_scenes,
        "has_unsafe_media": summary.has_unsafe_media,
        "inferred_event_type": summary.event_type,
        "inferred_tags": summary.inferred_tags,
        "status": post["status"],
        "visibility": post["visibility"],
        "created_at": post["created_at"],
        "revision": part.revision,
    }
