"""The known faces in PostgreSQL: who is near a face, and what users were enrolled with.

Every method raises Unavailable while the database is down.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamapp.events import Match
from streamapp.faces.enrolment import EnrolmentRefused, Outdated
from streamapp.faces.matching import NEIGHBOURS, Neighbour, Thresholds, cosine, decide
from streamapp.posts.clock import parse
from streamapp.sinks.database import DATA_ERRORS, TROUBLE, Pool, unavailable
from streamapp.sinks.known_faces import KnownFaceRows
from streamapp.sinks.parts import Refused
from streamapp.sinks.statements import Statements
from streamapp.sinks.vectors import vector_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """A picture that a user was enrolled with. clock: entry id of the request. sha256: of the file. embedding:
    little-endian float32."""

    clock: str
    sha256: bytes
    model: str
    embedding: bytes
    url: str = ""
    quality: float = 0.0


def as_number(entry_id: str) -> int:
    """An entry id as one number in its order: milliseconds * 2^20 + sequence, of which a millisecond has no more."""
    milliseconds, sequence = parse(entry_id)
    return (milliseconds << 20) + min(sequence, 2**20 - 1)


def as_entry_id(number: int) -> str:
    """What as_number was made of."""
    return f"{number >> 20}-{number % 2**20}"


class KnownFaces:
    """`rows` writes the tables. thresholds: see matching. width: of face vectors. `unusable` counts detected faces that
    could not be compared because of their vector."""

    def __init__(
        self, pool: Pool, *, send: Statements, rows: KnownFaceRows, thresholds: Thresholds, width: int = 1024
    ) -> None:
        self.pool, self.thresholds, self.width = pool, thresholds, width
        self.unusable = 0
        self._send, self._rows = send, rows

    async def nearest(self, vectors: Sequence[str], *, count: int = NEIGHBOURS) -> tuple[int, list[list[Neighbour]]]:
        """The version of the known faces, and for each vector (pgvector's text) its nearest ones, in one round trip."""
        try:
            rows = await self._send.fetch(self.pool, "match", vectors, count)
        except TROUBLE as error:
            raise unavailable(error) from error
        found: list[list[Neighbour]] = [[] for _ in vectors]
        for row in rows:
            if row["user_id"] is not None and not math.isnan(row["distance"]):  # of a known face without a direction
                found[row["face"]].append(Neighbour(row["user_id"], row["username"], cosine(row["distance"])))
        return rows[0]["version"], found

    async def match(self, faces: Sequence[bytes | None]) -> tuple[int, tuple[Match, ...]]:
        """The version of the known faces, and who each face (its vector, None where it has none) is."""
        vectors: dict[int, str] = {}
        for index, face in enumerate(faces):
            if face is not None:
                text = vector_text(face, self.width, what="face")
                if isinstance(text, Refused):
                    self.unusable += 1
                    logger.warning("a face is not compared: %s", text.reason)
                else:
                    vectors[index] = text
        version, found = await self.nearest(list(vectors.values()))
        matches = []
        for index, neighbours in zip(vectors, found, strict=True):
            if (decided := decide(neighbours, self.thresholds)) is not None:
                nearest, status = decided
                matches.append(
                    Match(
                        face=index,
                        user_id=str(nearest.user_id),
                        username=nearest.username,
                        confidence=nearest.cosine,
                        status=status,
                    )
                )
        return version, tuple(matches)

    async def enrolled(self, user_id: int) -> Enrolment | None:
        """What a user was enrolled with last; None: nothing, or they were forgotten."""
        try:
            rows = await self._send.fetch(self.pool, "picture", user_id)
        except TROUBLE as error:
            raise unavailable(error) from error
        if not rows or rows[0]["embedding"] is None:
            return None
        row = rows[0]
        return Enrolment(
            clock=as_entry_id(row["clock"]),
            sha256=row["sha256"],
            model=row["model"],
            embedding=row["embedding"].to_numpy().astype("<f4").tobytes(),
        )

    async def repeat(self, user_id: int, clock: str, known: Enrolment) -> None:
        """The picture of an enrolment was sent again, and may have been replaced meanwhile. Raises as enrol()."""
        asked = as_number(clock), known.sha256, known.model
        try:
            await self._send.fetch(self.pool, "repeat_picture", user_id, *asked)
        except TROUBLE as error:
            raise unavailable(error) from error
        await self.enrol(user_id, replace(known, clock=clock))

    async def enrol(self, user_id: int, new: Enrolment) -> None:
        """Replace what a user was enrolled with by what was asked for later, and write it to the tables; where the
        backend does not have the user yet, the sweep writes it when it does. Raises EnrolmentRefused where it is no
        vector, and Outdated."""
        text = vector_text(new.embedding, self.width, what="face")
        if isinstance(text, Refused):
            raise EnrolmentRefused(text.reason)
        number = as_number(new.clock)
        asked = number, new.sha256, new.model, new.url, text, new.quality, parse(new.clock)[0]
        try:
            async with self.pool.acquire() as connection:
                try:
                    async with connection.transaction():
                        await self._send.change(connection, "enrol", user_id, *asked)
                    ((clock, _, _, embedding),) = await self._send.fetch(connection, "picture", user_id)
                    if embedding is None:
                        raise Outdated("the user was forgotten after this picture was sent")
                    if clock > number:
                        raise Outdated("a newer picture of the user is enrolled")
                    async with connection.transaction():
                        await self._rows.write(connection, [user_id])
                except DATA_ERRORS as error:  # the sweep says and counts what no row can have
                    logger.warning("the enrolled face of user %d is not in the tables yet: %s", user_id, error)
        except TROUBLE as error:
            raise unavailable(error) from error
