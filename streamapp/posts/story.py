"""The whole story of a post, for people: what is known, what is missing, since when and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamapp.events import Match
from streamapp.ids import face_id
from streamapp.insights import SERVICES, FaceDetection, Service
from streamapp.posts.brief import ANSWERED, FAILED
from streamapp.posts.expected import expected, finished
from streamapp.posts.state import Media, OpenPost, Post
from streamapp.posts.view import missing, reason
from streamapp.times import iso


def _when(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else iso(milliseconds)


def story(post: Post, rows: Sequence[Media], opened: OpenPost | None) -> dict[str, Any]:
    """What to answer to "why is this post not complete?"."""
    wanted = expected(post)
    by = "registrations" if post.chosen is None and not wanted.absent else "trigger"
    return {
        "postId": post.post_id,
        "state": state(post),
        "why": why(post, rows),
        "revision": post.revision,
        "openedAt": _when(post.opened_at),
        "nextCheckAt": _when(opened.due) if opened is not None else None,
        "expected": {
            "by": "update" if post.chosen is not None and post.chosen is post.named else by,
            "mediaIds": [*wanted.media_ids, *wanted.unseen],
            "neverRegistered": list(wanted.unseen),
            "absent": wanted.absent,
            "known": wanted.known,
        },
        "given": {"completeness": post.emitted, "tags": list(post.tags)} if post.emitted is not None else None,
        "media": [_media(row) for row in rows],
    }


def state(post: Post) -> str:
    """deleted, complete, partial (given, with something missing) or incomplete (nothing given yet)."""
    if post.deleted is not None:
        return "deleted"
    return post.emitted or "incomplete"


def why(post: Post, rows: Sequence[Media]) -> list[str]:
    """What is missing, one line each; empty when nothing is."""
    wanted = expected(post)
    lines = []
    for row in rows:
        if row.media_id in wanted.media_ids:
            reasons: dict[str, list[str]] = {}
            for lack in missing(row):
                assert lack.service is not None  # a row's own
                reasons.setdefault(reason(row, lack.service), []).append(lack.service)
            lines += [f"media {row.media_id}, {_names(services)}: {text}" for text, services in reasons.items()]
    lines += [f"media {media_id}: named by the request, never registered" for media_id in wanted.unseen]
    if wanted.absent:
        lines.append(f"{wanted.absent} more media announced, never registered")
    if not wanted.known and not lines and not finished(post):
        lines.append("no trigger has come: whole when no media is added for POST_QUIET_SECONDS")
    return lines


def _names(services: list[str]) -> str:
    return "all services" if len(services) == len(SERVICES) else ", ".join(services)


def _media(row: Media) -> dict[str, Any]:
    return {
        "mediaId": row.media_id,
        "url": row.url,
        "position": row.position,
        "registeredAt": _when(row.at),
        "correlationId": row.correlation_id,
        "nextAttemptAt": _when(row.brief.due),
        "services": {service: _service(row, service) for service in SERVICES},
        **_people(row),
    }


def _people(row: Media) -> dict[str, Any]:
    """Who is on the media: each face with what was found, and the version of the known faces that all of them were
    compared with (None: not yet)."""
    found, recognition = row.detail("face_detection").insight, row.recognition
    matches = {match.face: match for match in recognition.matches} if recognition is not None else {}
    count = len(found.faces) if isinstance(found, FaceDetection) else 0
    return {
        "faces": [_face(row, index, matches.get(index)) for index in range(count)],
        "knownFaces": None if row.brief.faces is None else row.brief.faces.known,
    }


def _face(row: Media, index: int, match: Match | None) -> dict[str, Any]:
    return {
        "faceId": face_id(row.media_id, row.brief.generation, index),
        "status": "UNKNOWN" if match is None else match.status,
        "userId": None if match is None else match.user_id,
        "username": None if match is None else match.username,
        "confidence": None if match is None else match.confidence,
    }


def _service(row: Media, service: Service) -> dict[str, Any]:
    step, detail = row.brief.of(service), row.detail(service)
    told: dict[str, Any] = {
        "state": _state(step),
        "attempts": detail.failures + (step == ANSWERED or (step < FAILED and step % 2 == 0)),
    }
    if step == ANSWERED:
        told |= {"answeredAt": _when(detail.answered_at), "model": detail.model}
    else:
        told |= {"missingSince": _when(row.at), "why": reason(row, service)}
    if detail.error is not None:
        told |= {"lastError": detail.error, "lastErrorAt": _when(detail.error_at)}
    return told


def _state(step: int) -> str:
    if step >= FAILED:
        return "answered" if step == ANSWERED else "failed"
    return "waiting" if step % 2 else "asked"
