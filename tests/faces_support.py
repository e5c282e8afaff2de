"""Known faces and vectors of chosen cosines for the tests of faces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamapp.events import Recheck
from streamapp.faces.corrections import Corrections
from streamapp.faces.matching import Thresholds
from streamapp.faces.store import Enrolment, KnownFaces
from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.statements import Statements

WIDTH = 1024


def axis(n: int) -> NDArray[np.float32]:
    """The n-th unit vector: two of them have cosine 0."""
    vector = np.zeros(WIDTH, "<f4")
    vector[n] = 1
    return vector


def towards(cosine: float, n: int = 0, *, aside: int = WIDTH - 1) -> bytes:
    """A unit vector with this cosine to the n-th axis; the rest of it lies along another one."""
    vector = np.zeros(WIDTH, np.float64)
    vector[n], vector[aside] = cosine, np.sqrt(1 - cosine * cosine)
    return vector.astype("<f4").tobytes()


async def user(pool: Pool, user_id: int, name: str, status: str = "ACTIVE") -> None:
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES ($1, $2::text, $2::text || '@example.test', '', 'USER', $3)",
        user_id,
        name,
        status,
    )


def picture(vector: bytes, *, clock: str = "1-0", sha256: bytes = b"1", model: str = "m") -> Enrolment:
    return Enrolment(clock=clock, sha256=sha256, model=model, embedding=vector, url="http://images.test/me.jpg")


def known_faces(pool: Pool, models: ReadModels) -> KnownFaces:
    return KnownFaces(pool, send=Statements(), rows=models.sweep.faces, thresholds=Thresholds())


class Told(Corrections):
    """Corrections that tell a list."""

    def __init__(self, pool: Pool) -> None:
        self.facts: list[Recheck] = []
        super().__init__(pool, send=Statements(), thresholds=Thresholds(), tell=self._note)

    async def _note(self, facts: Sequence[Recheck]) -> None:
        await asyncio.sleep(0)
        self.facts += facts

    async def all(self) -> set[tuple[str, str]]:
        """Post and media of everything that is to be compared again; emptied by being asked."""
        while await self.step():
            pass
        told, self.facts = {(fact.post_id, fact.media_id) for fact in self.facts}, []
        return told
