"""Who is on a media, in the words of its rows: pure functions of what was recognised and of the backend's users."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from msgspec.structs import replace

from streamapp.events import Match, MediaChanged, MediaView, Recognition
from streamapp.insights import Face
from streamapp.sinks.parts import Part, database_id

People: TypeAlias = Mapping[int, str]
"""Users that the backend has, by id, and their names: nobody else is said to be on an image."""
Values: TypeAlias = dict[str, Any]


def said(user_id: int) -> bytes:
    """How a match of a user stands in the bytes of a change, and of a row of the state."""
    return b'"user_id":"%d","username":' % user_id


def without(recognition: Recognition, user_ids: Collection[int]) -> Recognition:
    """Some users taken out of what was recognised."""
    kept = tuple(match for match in recognition.matches if database_id(match.user_id) not in user_ids)
    return replace(recognition, matches=kept)


def matched_users(parts: Iterable[Part]) -> list[int]:
    """Whom faces of media were taken for."""
    found = (match for part in parts if (known := _recognition(part)) is not None for match in known.matches)
    return sorted({user for match in found if (user := database_id(match.user_id)) is not None})


class Compared(NamedTuple):
    """A media that was written: the version of the known faces that its faces were compared with, and who was found."""

    post_id: int
    media_id: int
    known: int
    users: list[int]


def compared(parts: Iterable[Part]) -> list[Compared]:
    """Those of media whose faces were compared."""
    return [
        Compared(part.post_id, part.pk, known.known, matched_users([part]))
        for part in parts
        if (known := _recognition(part)) is not None
    ]


def _recognition(part: Part) -> Recognition | None:
    return part.record.media.recognition if isinstance(part.record, MediaChanged) else None


def matches(view: MediaView, people: People) -> dict[int, Match]:
    """By the index of the face."""
    found = () if view.recognition is None else view.recognition.matches
    return {match.face: match for match in found if database_id(match.user_id) in people}


def identified(faces: Sequence[Face] | None, found: Mapping[int, Match], people: People) -> Values:
    """Who is on a media, in the order of the faces and each once, with the surest of their faces. Suggestions are
    nobody's but the tables' of faces. All None where faces were not looked for yet."""
    users: dict[int, float] = {}
    count = 0
    for index in range(len(faces or ())):
        if (match := found.get(index)) is not None and match.status == "IDENTIFIED":
            user = int(match.user_id)
            users[user] = max(match.confidence, users.get(user, match.confidence))
            count += 1
    ids, names = None if faces is None else list(users), None if faces is None else [people[user] for user in users]
    return {
        "detected_user_ids": ids,
        "detected_usernames": names,
        "identified_user_ids": ids,
        "identified_usernames": names,
        "identified_confidences": None if faces is None else list(users.values()),
        "unidentified_face_count": len(faces or ()) - count,
    }


def detected(match: Match | None) -> Values:
    """Who a face is, in the words of the AI tables."""
    sure = match is not None and match.status == "IDENTIFIED"
    user = None if match is None else int(match.user_id)
    return {
        "identified_user_id": user if sure else None,
        "suggested_user_id": None if sure else user,
        "confidence_score": None if match is None else match.confidence,
        "status": "UNIDENTIFIED" if match is None else "CONFIRMED" if sure else "SUGGESTED",
    }


def searched(match: Match | None, people: People) -> Values:
    """Who a face is, in the words of the read models."""
    sure = match is not None and match.status == "IDENTIFIED"
    user = None if match is None else int(match.user_id)
    return {
        "identification_status": "UNKNOWN" if match is None else match.status,
        "identified_user_id": user if sure else None,
        "identified_username": people[user] if sure and user is not None else None,
        "suggested_user_id": None if sure else user,
        "match_confidence": None if match is None else match.confidence,
    }
