"""What the images of a post say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from streamapp.events import MediaView, Missing, PostChanged, Summary
from streamapp.insights import (
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Label,
    Moderation,
    SceneRecognition,
    Tagging,
)
from streamapp.posts.clock import parse
from streamapp.posts.expected import Expected, expected
from streamapp.posts.inference import infer
from streamapp.posts.state import Media, Post
from streamapp.posts.view import missing, view

TOP_TAGS = 10  # most frequent tags and scenes given; the sizes existing consumers know
TOP_SCENES = 5
CAPTIONS = 3  # captions joined into one


def post_changed(post: Post, rows: Callable[[str], Media | None]) -> PostChanged:
    """The aggregate of the post's media; its time and correlation id are functions of the facts it is made of."""
    wanted = expected(post)
    media = sorted((row for media_id in wanted.media_ids if (row := rows(media_id))), key=place)
    views = tuple(view(row, unsafe=post.unsafe) for row in media)
    lacking = (*(lack for row in media for lack in missing(row)), *_unregistered(wanted))
    trigger = post.trigger
    first = min(media, key=lambda row: parse(row.brief.clock), default=None)
    asked_with = trigger.correlation_id if trigger is not None else None
    return PostChanged(
        post_id=post.post_id,
        revision=post.revision,
        completeness="partial" if lacking else "complete",
        summary=summary(views),
        media=tuple(_without_vectors(v) for v in views),
        at=max([0, *(v.at for v in views), *(r.at for r in (post.trigger, post.update) if r is not None)]),
        correlation_id=asked_with or (first.correlation_id if first is not None else post.post_id),
        missing=lacking,
        user_id=next((row.user_id for row in media if row.user_id is not None), None),
        trigger=trigger.clock if trigger is not None and trigger.revision == post.revision else None,
        clock=max((brief.clock for brief in post.media.values()), key=parse, default=""),
    )


def _without_vectors(v: MediaView) -> MediaView:
    """What the aggregate says of a media."""
    lights = tuple(light for insight in v.insights if (light := _light(insight)) is not None)
    return replace(v, insights=lights, recognition=None)


def _light(insight: Insight) -> Insight | None:
    if isinstance(insight, FaceDetection):
        return replace(insight, faces=tuple(replace(face, embedding=None) for face in insight.faces))
    return None if isinstance(insight, ImageEmbedding) else insight


def place(row: Media) -> tuple[bool, int, tuple[int, int], str]:
    """Order of media in a post: by position, those without one last, by registration."""
    return row.position is None, row.position or 0, parse(row.brief.clock), row.media_id


def _unregistered(wanted: Expected) -> Iterable[Missing]:
    for media_id in wanted.unseen:
        yield Missing(media_id=media_id, reason="named by the request, never registered")
    if wanted.absent:
        yield Missing(media_id="", reason=f"{wanted.absent} more media announced, never registered")


def summary(media: Iterable[MediaView]) -> Summary:
    """The aggregate of media in their order. Safety fails closed: what was not moderated is not safe, and what the
    backend knows to be unsafe is not either."""
    views = tuple(media)
    has_unsafe = any(v.unsafe for v in views)
    found = [insight for v in views for insight in v.insights]
    tags = [i.tags for i in found if isinstance(i, Tagging)]
    scenes = [i.scenes for i in found if isinstance(i, SceneRecognition)]
    verdicts = [i for i in found if isinstance(i, Moderation)]
    captions = [i.caption for i in found if isinstance(i, ImageCaptioning) and i.caption]
    all_tags, all_scenes = _by_frequency(tags), _by_frequency(scenes)
    inferred = infer(tags=tags, scenes=scenes, images=len(views))
    return Summary(
        media_count=len(views),
        media_ids=tuple(v.media_id for v in views),
        all_tags=all_tags,
        all_scenes=all_scenes,
        top_tags=all_tags[:TOP_TAGS],
        top_scenes=all_scenes[:TOP_SCENES],
        total_faces=sum(len(i.faces) for i in found if isinstance(i, FaceDetection)),
        is_safe=bool(views) and not has_unsafe and len(verdicts) == len(views) and all(v.is_safe for v in verdicts),
        has_unsafe_media=has_unsafe or any(not v.is_safe for v in verdicts),
        moderation_confidence=min((v.confidence for v in verdicts), default=None),
        event_type=inferred.event_type,
        location_type=inferred.location_type,
        inferred_tags=inferred.tags,
        confidence=inferred.confidence,
        caption=_caption(captions, all_tags, all_scenes),
    )


def _by_frequency(found: list[tuple[Label, ...]]) -> tuple[str, ...]:
    """Names by how many images have them; ties: first seen first (Counter keeps that order)."""
    return tuple(name for name, _ in Counter(label.name for labels in found for label in labels).most_common())


def _caption(captions: list[str], tags: tuple[str, ...], scenes: tuple[str, ...]) -> str:
    if captions:
        return " ".join(caption.rstrip(".") + "." for caption in captions[:CAPTIONS])
    if tags:
        return f"A post with {', '.join(tags[:3])}" + (f" ({scenes[0]})" if scenes else "")
    return f"A post with a scene: {scenes[0]}" if scenes else ""
