"""Internal records: what travels on the task topics, on post-events and on post-changes.

Facts go in (`Event`), work goes out (`Task`), and what became of a post goes on (`Change`). Ids are opaque strings,
times are milliseconds since the epoch, vectors are little-endian float32 bytes (base64 in JSON).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from streamapp.insights import Insight, Kind, Record, Service

# --- facts: the topic post-events, key = post id -------------------------------------------------------------------


class Registered(Record, tag="registered", frozen=True):
    """The backend asks for an image of a post to be looked at."""

    post_id: str
    media_id: str
    url: str
    clock: str  # Redis entry id; of two registrations of one media the greater counts
    at: int
    correlation_id: str
    position: int | None = None
    user_id: str | None = None
    job_id: str | None = None


class Triggered(Record, tag="triggered", frozen=True):
    """The backend asks for the aggregate of a post and may name its media, and those it knows to be unsafe."""

    post_id: str
    clock: str
    at: int
    correlation_id: str | None = None  # None: the backend gave none
    media_ids: tuple[str, ...] = ()
    total: int | None = None
    unsafe: tuple[str, ...] = ()


class Updated(Record, tag="updated", frozen=True):
    """The backend changed a post: its text, the set of its media (None: unchanged), or deleted it."""

    post_id: str
    clock: str
    at: int
    correlation_id: str
    media_ids: tuple[str, ...] | None = None
    deleted: bool = False


class Answered(Record, tag="answered", frozen=True):
    """An engine looked: one insight per service it was asked for."""

    post_id: str
    media_id: str
    generation: str
    model: str
    at: int
    insights: tuple[Insight, ...]


class Failed(Record, tag="failed", frozen=True):
    """An attempt failed. `permanent` says that another one is useless."""

    post_id: str
    media_id: str
    generation: str
    services: tuple[Service, ...]
    attempt: int
    error: str
    at: int
    permanent: bool = False


class Ticked(Record, tag="ticked", frozen=True):
    """Time passed for an unfinished post. `behind`: the kinds of work that have a backlog and are working it off."""

    post_id: str
    at: int
    behind: tuple[Kind, ...] = ()


class Match(Record, frozen=True):
    """Who a face is, or may be. `confidence` is the cosine of the two faces, rounded (faces/matching.py)."""

    face: int  # index in the detection
    user_id: str
    username: str
    confidence: float
    status: Literal["IDENTIFIED", "SUGGESTED"]
    since: int = 0  # the version of the known faces since which it is so; the state knows it


class Recognised(Record, tag="recognised", frozen=True):
    """The faces of a media were compared with the known faces of a version; faces without a match are nobody's."""

    post_id: str
    media_id: str
    generation: str
    known: int
    at: int
    matches: tuple[Match, ...] = ()


class Recheck(Record, tag="recheck", frozen=True):
    """Known faces that concern a media have changed, the last one in version `known`: its faces are to be compared
    again, unless they were with that version or a later one."""

    post_id: str
    media_id: str
    known: int
    at: int


Event: TypeAlias = Registered | Triggered | Updated | Answered | Failed | Ticked | Recognised | Recheck


# --- work: the topics vision-tasks, caption-tasks, face-tasks, recognition-tasks, key = media id -------------------


class Task(Record, frozen=True):
    """Look at one image for some services. `generation` names the request that the answer belongs to."""

    kind: Kind
    post_id: str
    media_id: str
    url: str
    generation: str
    attempt: int
    services: tuple[Service, ...]


class Recognise(Record, frozen=True):
    """Compare the faces of a media with the known faces. `faces`: their vectors by index, None where there is none."""

    post_id: str
    media_id: str
    generation: str
    faces: tuple[bytes | None, ...]


# --- what became of a post: the topic post-changes, key = post id --------------------------------------------------


class Recognition(Record, frozen=True):
    """Who is on a media, as of a version of the known faces."""

    known: int
    at: int
    matches: tuple[Match, ...] = ()


class MediaView(Record, frozen=True):
    """A media and all that is known of it; a function of its facts."""

    media_id: str
    url: str
    generation: str
    correlation_id: str
    insights: tuple[Insight, ...] = ()
    models: dict[str, str] = msgspec.field(default_factory=dict)  # service -> model
    missing: tuple[Service, ...] = ()  # unanswered, failed ones included
    failed: tuple[Service, ...] = ()  # failed for good
    position: int | None = None
    user_id: str | None = None
    job_id: str | None = None
    at: int = 0  # of the latest fact in it
    unsafe: bool = False  # the backend holds it unsafe, whatever moderation says
    recognition: Recognition | None = None  # None: its faces were not compared with the known ones yet


class Missing(Record, frozen=True):
    """Why a post is not complete: one media and service, or a media never seen (service None)."""

    media_id: str
    service: Service | None = None
    reason: str = ""


class Summary(Record, frozen=True):
    """What the images of a post say together."""

    media_count: int
    media_ids: tuple[str, ...]
    all_tags: tuple[str, ...]
    all_scenes: tuple[str, ...]
    top_tags: tuple[str, ...]
    top_scenes: tuple[str, ...]
    total_faces: int
    is_safe: bool
    has_unsafe_media: bool
    moderation_confidence: float | None
    event_type: str
    location_type: str | None
    inferred_tags: tuple[str, ...]
    confidence: float
    caption: str


class MediaChanged(Record, tag="media", frozen=True):
    """A media has a new state. `answered` are the services this fact answered, `closed` that no more is awaited,
    `removed` that it is no longer of the post, `recognised` the version of the known faces that changed who is on it
    (0: it is not for that)."""

    post_id: str
    revision: int
    media: MediaView
    answered: tuple[Service, ...] = ()
    closed: bool = False
    removed: bool = False
    recognised: int = 0


class PostChanged(Record, tag="post", frozen=True):
    """A post has an aggregate: complete, or partial with what is missing. Its media come without vectors: with them
    1,000 would not fit into a message."""

    post_id: str
    revision: int
    completeness: Literal["complete", "partial"]
    summary: Summary
    media: tuple[MediaView, ...]
    at: int
    correlation_id: str
    missing: tuple[Missing, ...] = ()
    user_id: str | None = None
    trigger: str | None = None  # clock of the trigger that this answers
    clock: str = ""  # of the newest registration: revisions start anew where the state was lost, clocks do not


class ServiceFailed(Record, tag="service_failed", frozen=True):
    """Services of a media failed for good."""

    post_id: str
    media_id: str
    generation: str
    services: tuple[Service, ...]
    error: str
    at: int
    correlation_id: str
    user_id: str | None = None
    job_id: str | None = None


class PostDeleted(Record, tag="deleted", frozen=True):
    """A post is gone: its rows, documents and results with it."""

    post_id: str
    revision: int
    media_ids: tuple[str, ...]


Change: TypeAlias = MediaChanged | PostChanged | ServiceFailed | PostDeleted

_encoder = msgspec.json.Encoder(order="deterministic")
_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_tasks: msgspec.json.Decoder[Task] = msgspec.json.Decoder(Task)
_recognise: msgspec.json.Decoder[Recognise] = msgspec.json.Decoder(Recognise)
_changes: msgspec.json.Decoder[Change] = msgspec.json.Decoder(Change)


def encode(record: Record) -> bytes:
    """The record as JSON; equal records give equal bytes."""
    return _encoder.encode(record)


def decode_event(raw: bytes) -> Event:
    """The fact in raw. Raises msgspec.DecodeError or msgspec.ValidationError."""
    return _events.decode(raw)


def decode_task(raw: bytes) -> Task:
    """The task in raw. Raises msgspec.DecodeError or msgspec.ValidationError."""
    return _tasks.decode(raw)


def decode_recognise(raw: bytes) -> Recognise:
    """The task in raw. Raises msgspec.DecodeError or msgspec.ValidationError."""
    return _recognise.decode(raw)


def decode_change(raw: bytes) -> Change:
    """The change in raw. Raises msgspec.DecodeError or msgspec.ValidationError."""
    return _changes.decode(raw)
