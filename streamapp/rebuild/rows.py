"""Write the rows of all posts anew from the state, as the sink would: guarded by revision, so that a change that comes
meanwhile wins."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from streamapp.events import Change, PostDeleted
from streamapp.posts.expected import removed
from streamapp.posts.view import media_changed
from streamapp.rebuild.documents import Progress
from streamapp.sinks.parts import Refused
from streamapp.sinks.postgres import ReadModels
from streamapp.verify import wanted
from streamapp.verify.state import State
from streamapp.verify.wanted import Known

MEDIA_AT_ONCE = 100


@dataclass(slots=True, kw_only=True)
class Written:
    """What came of it; `refused` are changes of which a row cannot be written, with the reason."""

    counts: Counter[str] = field(default_factory=Counter)  # posts, rows changed, rows awaiting the backend's
    refused: list[tuple[Change, str]] = field(default_factory=list)


async def rebuild(
    state: State, models: ReadModels, *, total: int = 0, progress: Progress = lambda what, done, total: None
) -> Written:
    """Every row that the state knows of, and none of what was deleted. Raises StateUnavailable and Unavailable."""
    written, changes = Written(), list[Change]()
    async for known in _all(state):
        written.counts["posts"] += 1
        changes += changes_of(known)
        if len(changes) >= MEDIA_AT_ONCE:
            await _write(models, changes, written)
            changes = []
            progress("posts", written.counts["posts"], max(total, written.counts["posts"]))
    await _write(models, changes, written)
    progress("posts", written.counts["posts"], written.counts["posts"])
    return written


async def _all(state: State) -> AsyncIterator[Known]:
    async for page in state.posts():
        for post in page:
            yield await state.known(post.post_id)


async def _write(models: ReadModels, changes: list[Change], written: Written) -> None:
    outcome = await models.write(changes)
    written.counts["changed"] += outcome.changed
    written.counts["awaiting"] += outcome.awaiting
    written.refused += outcome.refused


def changes_of(known: Known) -> Iterator[Change]:
    """What would give the rows of a post. The row of an earlier aggregate of a post that is not whole is left alone:
    the state no longer says what it was."""
    post = known.post
    if post is None:
        return
    if post.deleted is not None:
        yield PostDeleted(post_id=post.post_id, revision=post.revision, media_ids=tuple(post.media))
        return
    source: Change | None = None
    for row in wanted.rows(known):
        # The rows of one change come one after the other.
        if not isinstance(row, Refused) and row.whole and row.part.source is not source:
            source = row.part.source
            yield source
    for media_id in removed(post):
        if (media := known.media.get(media_id)) is not None:
            yield media_changed(post, media, removed=True)
