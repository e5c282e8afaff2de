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
    """The set the newest request names, with media registered after it; else all registered, whole once quiet."""
    chosen = post.chosen
    if chosen is None:
        return Expected(tuple(post.media), (), 0, post.quiet)
    if chosen.media_ids is not None:
        later = tuple(
            media_id
            for media_id, brief in post.media.items()
            if media_id not in chosen.media_ids and newer(brief.clock, chosen.clock)
        )
        unseen = tuple(media_id for media_id in chosen.media_ids if media_id not in post.media)
        present = tuple(media_id for media_id in chosen.media_ids if media_id in post.media)
        return Expected(present + later, unseen, 0, known=True)
    return Expected(tuple(post.media), (), max(0, (chosen.total or 0) - len(post.media)), known=True)


def removed(post: Post) -> frozenset[str]:
    """The media that an update took out of the post. (One that a trigger does not name is of the post all the same.)"""
    if post.update is None or post.chosen is not post.update:
        return frozenset()
    return frozenset(post.media).difference(expected(post).media_ids)


def finished(post: Post) -> bool:
    """Whether nothing is awaited any more: the set is known and each media has answered or failed for good."""
    wanted = expected(post)
    return (
        wanted.known
        and (bool(wanted.media_ids) or bool(removed(post)))
        and not wanted.unseen
        and not wanted.absent
        and all(post.media[media_id].settled for media_id in wanted.media_ids)
    )
