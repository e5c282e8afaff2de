"""A world for the fold: answers tasks like an engine would, in any order, any number of times."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal

from streamapp.events import (
    Answered,
    Change,
    Event,
    Failed,
    Match,
    PostChanged,
    Recheck,
    Recognise,
    Recognised,
    Registered,
    Task,
    Ticked,
    Triggered,
)
from streamapp.insights import (
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Label,
    Moderation,
    SceneRecognition,
    Service,
    Tagging,
)
from streamapp.posts.fold import Folded, fold
from streamapp.posts.policy import Policy
from streamapp.posts.state import Media, OpenPost, Post

POLICY = Policy(model="pixel-1", quiet=5_000, timeout=120_000, max_wait=3_600_000, attempts=3, retry=2_000)
START = 1_700_000_000_000


def registered(
    media_id: str, *, post_id: str = "100", url: str | None = None, clock: int = 1, at: int = START, **more: object
) -> Registered:
    return Registered(
        post_id=post_id,
        media_id=media_id,
        url=url or f"http://images/{media_id}.jpg",
        clock=f"{clock}-0",
        at=at,
        correlation_id=f"c-{media_id}",
        **more,  # type: ignore[arg-type]
    )


def triggered(
    *media_ids: str, post_id: str = "100", clock: int = 50, at: int = START, total: int | None = None
) -> Triggered:
    return Triggered(
        post_id=post_id, clock=f"{clock}-0", at=at, correlation_id="c-trigger", media_ids=media_ids, total=total
    )


def ticked(seconds: float, *, post_id: str = "100") -> Ticked:
    return Ticked(post_id=post_id, at=START + int(seconds * 1000))


def insight(service: Service, media_id: str, *, safe: bool = True) -> Insight:
    """A different answer per media, the same one every time."""
    n = sum(media_id.encode())
    match service:
        case "moderation":
            return Moderation(is_safe=safe, confidence=0.5 + n % 50 / 100)
        case "tagging":
            return Tagging(tags=(Label("beach", 0.9), Label(f"tag-{n % 7}", 0.5)))
        case "scene_recognition":
            return SceneRecognition(scenes=(Label("beach", 0.8), Label(f"scene-{n % 3}", 0.4)), colors=("#ffeedd",))
        case "image_captioning":
            return ImageCaptioning(caption=f"Picture {media_id}.")
        case "image_embedding":
            return ImageEmbedding(vector=media_id.encode().ljust(8, b"\0"))
        case "face_detection":
            faces = tuple(Face(bbox=(i, 0, 10, 10), confidence=0.9, embedding=b"1234") for i in range(n % 3))
            return FaceDetection(width=640, height=480, faces=faces)


def answered(task: Task, *, at: int = START + 1000, safe: bool = True) -> Answered:
    return Answered(
        post_id=task.post_id,
        media_id=task.media_id,
        generation=task.generation,
        model="pixel-1",
        at=at,
        insights=tuple(insight(service, task.media_id, safe=safe) for service in task.services),
    )


def failed(task: Task, *, at: int = START + 1000, permanent: bool = False, error: str = "404 Not Found") -> Failed:
    return Failed(
        post_id=task.post_id,
        media_id=task.media_id,
        generation=task.generation,
        services=task.services,
        attempt=task.attempt,
        error=error,
        at=at,
        permanent=permanent,
    )


def recognised(task: Recognise, *users: str | None, known: int = 1, cosine: float = 0.9) -> Recognised:
    """Who each face is, None: nobody."""
    status: Literal["IDENTIFIED", "SUGGESTED"] = "IDENTIFIED" if cosine >= 0.85 else "SUGGESTED"
    return Recognised(
        post_id=task.post_id,
        media_id=task.media_id,
        generation=task.generation,
        known=known,
        at=START + 2000 + known,
        matches=tuple(
            Match(face=face, user_id=user, username=f"name-{user}", confidence=cosine, status=status)
            for face, user in enumerate(users)
            if user is not None
        ),
    )


def recheck(media_id: str, known: int, *, post_id: str = "100") -> Recheck:
    return Recheck(post_id=post_id, media_id=media_id, known=known, at=START + 3000 + known)


@dataclass
class World:
    """One post's rows, and everything that went out."""

    policy: Policy = POLICY
    post: Post | None = None
    media: dict[str, Media] = field(default_factory=dict)
    open: OpenPost | None = None
    tasks: list[Task] = field(default_factory=list)
    comparisons: list[Recognise] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    told: list[Change] = field(default_factory=list)  # changes, and those of rows only
    position: int = -1  # in the log

    def tell(self, *events: Event) -> Folded:
        """Fold events one after the other, each at the next position; returns what the last gave."""
        for event in events:
            self.position += 1
            folded = fold(self.post, self.media.get, event, self.position, self.policy)
            self.post, self.open = folded.post, folded.open
            self.media.update(folded.media)
            self.tasks += folded.tasks
            self.comparisons += [] if folded.comparison is None else [folded.comparison]
            self.changes += folded.changes
            self.told += (*folded.changes, *folded.rows)
        return folded

    def answer_all(self, *, but: tuple[str, ...] = ()) -> None:
        """Answer what is asked for, except the media named."""
        for task in [task for task in self.tasks if task.media_id not in but]:
            self.tell(answered(task))

    @property
    def payloads(self) -> list[PostChanged]:
        return [change for change in self.changes if isinstance(change, PostChanged)]


def shuffled(events: list[Event], random: Random) -> list[Event]:
    """The events in any order, each once or more."""
    many = events + [random.choice(events) for _ in range(random.randrange(len(events)))]
    random.shuffle(many)
    return many
