"""Ids made of other ids, the same whenever they are made."""

from __future__ import annotations

import uuid

FACE_IDS = uuid.UUID("5f1c8a52-3f0e-5b57-9d0a-6f6b1f0c2a11")  # any fixed namespace: it only must never change


def join(*parts: object) -> str:
    """Parts as one id; two lists of parts never give the same, whatever separators the parts contain."""
    return ":".join(str(part).replace("%", "%25").replace(":", "%3A") for part in parts)


def face_id(media_id: str, generation: str, index: int) -> str:
    """The id of a face, the same whenever it is computed: a uuid, because the table holds 50 characters."""
    return str(uuid.uuid5(FACE_IDS, join(media_id, generation, index)))
