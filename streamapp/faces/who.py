"""Who a face is near to, and what the thresholds make of that."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamapp.faces.matching import Neighbour, Thresholds, decide
from streamapp.faces.store import KnownFaces
from streamapp.insights import Face
from streamapp.sinks.database import TROUBLE, unavailable
from streamapp.sinks.parts import Refused
from streamapp.sinks.statements import Statements
from streamapp.sinks.vectors import vector_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A face. bbox: x, y, width, height in pixels; quality: 0..1; embedding: little-endian float32; stored: what is
    kept of it in the tables."""

    bbox: tuple[int, ...]
    embedding: bytes | None
    quality: float | None = None
    stored: str = ""


def from_picture(faces: Sequence[Face]) -> list[Seen]:
    """The faces that an engine found."""
    return [
        Seen(
            bbox=face.bbox,
            embedding=face.embedding,
            quality=face.confidence if face.quality is None else face.quality,
        )
        for face in faces
    ]


def is_face_id(text: str) -> bool:
    """Whether it looks like the id of a face."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


async def stored(known: KnownFaces, face_id: str) -> Seen | None:
    """A stored face by its id, None where there is none. Raises Unavailable."""
    try:
        rows = await Statements().fetch(known.pool, "stored_face", face_id)
    except TROUBLE as error:
        raise unavailable(error) from error
    if not rows:
        return None
    row = rows[0]
    user = row["identified_user_id"] or row["suggested_user_id"]
    told = f"post {row['post_id']} media {row['media_id']}, stored as {row['identification_status']}"
    return Seen(
        bbox=tuple(row["bbox"] or ()),
        embedding=row["vector"].to_numpy().astype("<f4").tobytes(),
        stored=told + (f" user {user}" if user is not None else ""),
    )


async def compared(known: KnownFaces, faces: Sequence[Seen]) -> list[dict[str, Any]]:
    """Each face with its nearest known ones, nearest first, and who it is by the thresholds. Raises Unavailable."""
    texts = [vector_text(face.embedding or b"", known.width, what="face") for face in faces]
    usable = [text for text in texts if not isinstance(text, Refused)]
    _, found = await known.nearest(usable) if usable else (0, [])
    neighbours = iter(found)
    return [
        judged(face, [], known.thresholds, unusable=text.reason)
        if isinstance(text, Refused)
        else judged(face, next(neighbours), known.thresholds)
        for face, text in zip(faces, texts, strict=True)
    ]


def judged(face: Seen, near: Sequence[Neighbour], thresholds: Thresholds, *, unusable: str = "") -> dict[str, Any]:
    """A face, its nearest known ones and what the thresholds make of them; unusable: why it has none."""
    decided = decide(near, thresholds)
    return {
        "bbox": list(face.bbox),
        "quality": face.quality,
        "stored": face.stored or None,
        "status": "UNKNOWN" if decided is None else decided[1],
        "userId": None if decided is None else str(decided[0].user_id),
        "username": None if decided is None else decided[0].username,
        "nearest": [{"userId": str(n.user_id), "username": n.username, "cosine": n.cosine} for n in near],
        "unusable": unusable or None,
    }


def text(faces: Sequence[dict[str, Any]]) -> str:
    """For people."""
    lines = []
    for number, face in enumerate(faces, 1):
        quality = "" if face["quality"] is None else f", quality {face['quality']:.2f}"
        box = ",".join(map(str, face["bbox"]))
        who = "" if face["userId"] is None else f": {face['username']} ({face['userId']})"
        stored = f"  [{face['stored']}]" if face["stored"] else ""
        lines.append(f"face {number} at {box}{quality}: {face['status'].lower()}{who}{stored}")
        if face["unusable"]:
            lines.append(f"  cannot be compared: {face['unusable']}")
        elif not face["nearest"]:
            lines.append("  no face is known")
        lines += [f"  {near['cosine']:8.5f}  {near['username']} ({near['userId']})" for near in face["nearest"]]
    return "\n".join(lines)
