"""Whatever the order of enrolments and posts, and of all that follows from them: when it is quiet, every face is who it
would be had all enrolments come first. The log and the queues are in memory, the database is real."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import numpy as np
from faces_support import Told, axis, known_faces, picture, towards, user
from hypothesis import given, settings
from hypothesis import strategies as st
from sinks_support import backend_post, fresh_pool
from world import World, registered

from streamapp.events import Answered, Change, Event, Recognise, Recognised
from streamapp.faces.matching import Neighbour, Thresholds, cosine, decide
from streamapp.insights import Face, FaceDetection
from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.readmodels import DETECTED_FACES, FACE_SEARCH, KNOWN_FACES, MEDIA_SEARCH, POST_SEARCH

USERS = (8, 9, 11)
MEDIA = {1: ("10", "11"), 2: ("20",)}
MANY = 300 if settings.get_current_profile_name() == "thorough" else 30


class Whole:
    """State, queues and database of two posts."""

    def __init__(self, pool: Pool, random: Random) -> None:
        self.pool, self.random = pool, random
        self.models = ReadModels(pool)
        self.store = known_faces(pool, self.models)
        self.corrections = Told(pool)
        self.worlds = {post_id: World() for post_id in MEDIA}
        self.facts: deque[Event] = deque()
        self.tasks: list[Recognise] = []
        self.changes: list[Change] = []
        self.clock = 0
        self.pace = random.choices((1, 4, 16), k=4)  # how fast each of the agents is: the slow ones see what is late

    async def post(self, post_id: int, media_id: str) -> None:
        """An image with faces like those of users, more or less."""
        asked = registered(media_id, post_id=str(post_id), clock=self.tick())
        faces = tuple(
            Face(bbox=(n, 0, 9, 9), confidence=0.9, embedding=towards(near, self.random.choice(USERS), aside=500 + n))
            for n, near in enumerate(self.random.choices((0.6, 0.72, 0.86, 0.97), k=self.random.randrange(1, 4)))
        )
        found = FaceDetection(width=99, height=9, faces=faces)
        answer = Answered(
            post_id=str(post_id),
            media_id=media_id,
            generation=f"{asked.clock}/pixel-1",
            model="pixel-1",
            at=1,
            insights=(found,),
        )
        self.facts += (asked, answer)

    async def change_known(self) -> None:
        """Somebody is enrolled with one of two faces, or taken out of use, or back."""
        user_id = self.random.choice(USERS)
        if self.random.random() < 0.6:
            vector = axis(user_id) if self.random.random() < 0.7 else axis(user_id % 3 + USERS[0])
            await self.store.enrol(user_id, picture(vector.tobytes(), clock=f"{self.tick()}-0"))
        else:
            active = self.random.choice(("true", "false"))
            await self.pool.execute(f"UPDATE {KNOWN_FACES} SET is_active = {active} WHERE user_id = $1", user_id)

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    async def some_step(self) -> None:
        """One of the agents does something."""
        match self.random.choices(range(4), self.pace)[0]:
            case 0 if self.facts:
                fact = self.facts.popleft()
                folded = self.worlds[int(fact.post_id)].tell(fact)
                self.tasks += [] if folded.comparison is None else [folded.comparison]
                self.changes += (*folded.changes, *folded.rows)
                if self.random.random() < 0.1:
                    self.facts.append(fact)  # told twice
            case 1 if self.tasks:
                task = self.tasks.pop(self.random.randrange(len(self.tasks)))
                known, matches = await self.store.match(task.faces)
                self.facts.append(
                    Recognised(
                        post_id=task.post_id,
                        media_id=task.media_id,
                        generation=task.generation,
                        known=known,
                        at=1,
                        matches=matches,
                    )
                )
            case 2 if self.changes:
                count = self.random.randrange(1, 4)
                some, self.changes = self.changes[:count], self.changes[count:]
                assert not (await self.models.write(some)).refused
            case 3:
                await self.corrections.step()
                self.facts += self.corrections.facts
                self.corrections.facts = []

    async def quiet(self) -> None:
        """Until there is nothing left to be done."""
        while self.facts or self.tasks or self.changes or (await self.corrections.pending())["since"] is not None:
            await self.some_step()

    async def found(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the rows say of the faces of each media, in their order."""
        rows = await self.pool.fetch(
            "SELECT f.media_id, f.bbox, f.identification_status, f.identified_user_id, f.suggested_user_id,"
            f" f.match_confidence, d.status FROM {FACE_SEARCH} f JOIN {DETECTED_FACES} d USING (face_id)"
            " ORDER BY f.media_id, f.bbox"
        )
        found: dict[str, list[tuple[Any, ...]]] = {}
        for media_id, _, *rest in rows:
            found.setdefault(str(media_id), []).append(tuple(rest))
        return found

    async def expected(self) -> dict[str, list[tuple[Any, ...]]]:
        """By comparing each stored vector with each known face that is in use."""
        known = await self.pool.fetch(f"SELECT user_id, username, face_embedding FROM {KNOWN_FACES} WHERE is_active")
        wanted: dict[str, list[tuple[Any, ...]]] = {}
        for world in self.worlds.values():
            for media_id, row in world.media.items():
                detection = row.detail("face_detection").insight
                assert isinstance(detection, FaceDetection)
                wanted[media_id] = [self._who(face.embedding or b"", known) for face in detection.faces]
        return wanted

    def _who(self, raw: bytes, known: Any) -> tuple[Any, ...]:
        face = np.frombuffer(raw, "<f4").astype(float)
        near = [
            Neighbour(user_id, name, cosine(1 - float(face @ vector.to_numpy() / np.linalg.norm(face))))
            for user_id, name, vector in known
        ]
        if (decided := decide(near, Thresholds())) is None:
            return ("UNKNOWN", None, None, None, "UNIDENTIFIED")
        nearest, status = decided
        if status == "IDENTIFIED":
            return (status, nearest.user_id, None, nearest.cosine, "CONFIRMED")
        return (status, None, nearest.user_id, nearest.cosine, status)


@settings(max_examples=MANY, deadline=None)
@given(st.integers(0, 2**32))
async def test_any_interleaving_ends_as_if_all_enrolments_had_come_first(url: str, seed: int) -> None:
    random = Random(seed)
    async with fresh_pool(url) as pool:
        for user_id in USERS:
            await user(pool, user_id, f"name{user_id}")
        for post_id, media_ids in MEDIA.items():
            await backend_post(pool, post_id, [int(each) for each in media_ids])
        whole = Whole(pool, random)
        posts = [(post_id, each) for post_id, media_ids in MEDIA.items() for each in media_ids]
        acts = [*posts, *[None] * random.randrange(3, 10)]
        random.shuffle(acts)
        for act in acts:
            await (whole.change_known() if act is None else whole.post(*act))
            for _ in range(random.choice((0, 3, 20))):
                await whole.some_step()
        await whole.quiet()
        wanted = await whole.expected()
        assert await whole.found() == wanted
        for world in whole.worlds.values():  # what the state says is what the rows say
            for media_id, row in world.media.items():
                assert row.recognition is not None
                identified = [m.user_id for m in row.recognition.matches if m.status == "IDENTIFIED"]
                assert identified == [str(who[1]) for who in wanted[media_id] if who[0] == "IDENTIFIED"]
        for post_id, names in await pool.fetch(
            f"SELECT m.post_id, array_agg(DISTINCT d) FROM {MEDIA_SEARCH} m, unnest(detected_user_ids) d GROUP BY 1"
        ):
            shown = await pool.fetchval(f"SELECT all_detected_user_ids FROM {POST_SEARCH} WHERE post_id = $1", post_id)
            assert shown is None or sorted(shown) == names
