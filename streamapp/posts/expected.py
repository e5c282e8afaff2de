"""Which media a post is made of, and what it still lacks."""

from __future__ import annotations

from typing import NamedTuple

from streamapp.posts.clock import newer
from streamapp.posts.state import Post


class Expected(NamedTuple):
    """The media of a post, in no order; `unseen` are named but not registered, `absent` counted only."""

    media_ids: tuple[str, ...]
    unseen: tuple[str, ...]
    absent: int
    known: bool  # whether the set is known to be whole


def expected(post: Post) -> Expected:
    """The set the newest request names, with media registered after it; else all registered, whole once quiet or when
    there are as many as the trigger announced."""
    media, unseen = _named(post)
    absent = max(0, _announced(post) - len(media) - len(unseen))
    return Expected(media, unseen, absent, known(post))


def _named(post: Post) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The media of the post that are registered, and those that are not."""
    chosen = post.chosen
    if chosen is None:
        return tuple(post.media), ()
    named = dict.fromkeys(chosen.media_ids or ())
    if named.keys() == post.media.keys():  # as most often; each fact of a post comes by here
        return tuple(named), ()
    later = (m for m, brief in post.media.items() if m not in named and newer(brief.clock, chosen.clock))
    return (*(m for m in named if m in post.media), *later), tuple(m for m in named if m not in post.media)


def known(post: Post) -> bool:
    """Whether the set is known to be whole."""
    return post.quiet or post.chosen is not None or _announced(post) > 0


def _announced(post: Post) -> int:
    """How many media the trigger announced without naming any, after they were last named; 0: none."""
    trigger, chosen = post.trigger, post.chosen
    if trigger is None or trigger.media_ids is not None or (chosen is not None and newer(chosen.clock, trigger.clock)):
        return 0
    return trigger.total or 0


def removed(post: Post) -> frozenset[str]:
    """The media that left the post: an update does not name them, or they are of before its deletion. (One that only a
    trigger does not name is of the post all the same.)"""
    gone = frozenset(post.gone).difference(post.media)
    if post.named is None or post.chosen is not post.named:
        return gone
    return gone.union(post.media).difference(expected(post).media_ids)


def has_media(post: Post) -> bool:
    """Whether there is a media, if only by name or number."""
    return bool(post.media) or any(expected(post)[:3])


def finished(post: Post) -> bool:
    """Whether nothing is awaited any more: the set is known and each media has answered or failed for good."""
    if not known(post):
        return False
    wanted = expected(post)
    return (
        (bool(wanted.media_ids) or bool(removed(post)))
        and not wanted.unseen
        and not wanted.absent
        # From the end, because what was registered last is most likely still at work.
        and all(post.media[media_id].settled for media_id in reversed(wanted.media_ids))
    )
