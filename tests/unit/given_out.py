"""What the sinks make of changes, in memory: rows by the rules of the upsert, streams by those of the bridge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from world import World

from streamapp.contracts import write
from streamapp.events import Event
from streamapp.sinks.parts import Deletion, Part, split
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH, READ_MODELS
from streamapp.sinks.rows import Batch, sort
from streamapp.verify import wanted
from streamapp.verify.findings import Findings
from streamapp.verify.judgement import judge
from streamapp.verify.results import Results
from streamapp.verify.rows import Compared, Key, PartKey, Present, Seen, lacking
from streamapp.verify.streams import Fields, Streams
from streamapp.verify.wanted import Known, WantedRow

WIDTH, FACE_WIDTH = 2, 1  # of the world's vectors
TIME = "2026-01-02 03:04:05+00"
POST = {
    "user_id": 7,
    "title": "summer",
    "body": "",
    "status": "PUBLISHED",
    "visibility": "PUBLIC",
    "created_at": TIME,
    "username": "ann",
    "full_name": None,
    "profile_picture_url": None,
    "department": None,
    "designation": None,
    "deleted": None,
}
MEDIA = {
    "post_id": 100,
    "media_type": "IMAGE",
    "media_url": "u",
    "thumbnail_url": None,
    "position": 3,
    "width": 1,
    "height": 1,
    "created_at": TIME,
    "deleted": None,
}


class Kept(Streams):
    """Streams in memory."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nothing is read
        self.kept: dict[tuple[str, str], Fields] = {}

    def put(self, stream: str, fields: Fields) -> str:
        """XADD; the entry id."""
        entry_id = f"{len(self.kept) + 1}-0"
        self.kept[stream, entry_id] = fields
        self._note(stream, entry_id, fields["resultId"])
        return entry_id

    def without(self, *gone: tuple[str, str]) -> Kept:
        """The same streams after XDEL."""
        other = Kept()
        for (stream, entry_id), fields in self.kept.items():
            if (stream, entry_id) not in gone:
                other.put(stream, fields)
        return other

    async def entries(self, places: Sequence[tuple[str, str]]) -> list[Fields | None]:
        return [self.kept.get(place) for place in places]


class GivenOut:
    """The rows and streams of one world."""

    def __init__(self, dialect: str = "api-reference") -> None:
        self.world = World()
        self.dialect = dialect
        self.rows: dict[Key, dict[str, Any]] = {}
        self.streams = Kept()
        self.backend = {"post": POST, "media": MEDIA}
        self._seen: set[tuple[str, str]] = set()
        self._gone: dict[int | None, int] = defaultdict(int)

    def tell(self, *events: Event) -> None:
        """Fold, and give out what follows."""
        for event in events:
            folded = self.world.tell(event)
            for change in folded.changes:
                for message in write(change, dialect=self.dialect):
                    if (seen := (message.stream, message.result_id)) not in self._seen:
                        self._seen.add(seen)
                        self.streams.put(message.stream, message.fields)
            for change in (*folded.changes, *folded.rows):
                for piece in split(change):
                    if isinstance(piece, Deletion):
                        self._delete(piece)
                    elif isinstance(piece, Part):
                        self._upsert(piece)

    def _delete(self, gone: Deletion) -> None:
        self._gone[gone.media_id] = max(gone.revision, self._gone[gone.media_id])
        for key, row in list(self.rows.items()):
            if gone.media_id in (None, row.get("media_id")) and row["revision"] <= gone.revision:
                del self.rows[key]

    def _upsert(self, part: Part) -> None:
        if part.revision <= max(self._gone[None], self._gone[part.media_id]):
            return
        batch = self._batch([part])
        assert not batch.refused, batch.refused
        if (known := self.rows.get((part.table, part.pk))) is not None and part.revision < known["revision"]:
            return
        if part.media_id is not None:  # its rows are all that it has
            self.rows = {key: row for key, row in self.rows.items() if row.get("media_id") != part.media_id}
        self.rows |= keyed(batch)

    def _batch(self, parts: Sequence[Part]) -> Batch:
        media = {(100, part.pk): self.backend["media"] for part in parts}
        people = {7: "ann", 8: "bob"}
        return sort(parts, {100: self.backend["post"]}, media, width=WIDTH, face_width=FACE_WIDTH, people=people)

    @property
    def known(self) -> Known:
        """What the state has."""
        post = self.world.post
        if post is None:
            return Known("100")
        return Known("100", post, {each: self.world.media[each] for each in post.media if each in self.world.media})

    async def verified(self, *, awaiting: Mapping[Any, Any] | None = None) -> Findings:
        """What is found by comparing."""
        pieces = list(wanted.rows(self.known))
        parts = [piece.part for piece in pieces if isinstance(piece, WantedRow)]
        batch = self._batch(parts)
        compared: dict[PartKey, dict[Key, Compared]] = {part.key: {} for part in batch.media}
        for key, row in keyed(batch).items():
            has = self.rows.get(key)
            names = row.keys() | (has or row).keys() - {"revision"}
            differing = {
                name: (row.get(name), has.get(name))
                for name in names - {"revision"}
                if has is not None and _plain(row.get(name)) != _plain(has.get(name))
            }
            one = Compared(revision=None if has is None else has["revision"], columns=differing)
            part = (MEDIA_SEARCH, row["media_id"], 100) if "media_id" in row else (POST_SEARCH, 100, 100)
            compared.setdefault(part, {})[key] = one
        present = [
            Present(key=key, post_id=100, media_id=row.get("media_id"), revision=row["revision"])
            for key, row in self.rows.items()
        ]
        lacks = lacking(parts, {100: self.backend["post"]}, {(100, part.pk): self.backend["media"] for part in parts})
        seen = Seen(batch=batch, compared=compared, present={100: present}, awaiting=awaiting or {}, lacking=lacks)
        findings = judge(self.known, pieces, present, seen)
        findings.differences += wanted.inconsistencies(self.known)
        findings.add(await Results(self.streams, dialect=self.dialect).look(self.known))
        return findings


def keyed(batch: Batch) -> dict[Key, dict[str, Any]]:
    """The rows of a batch by table and key."""
    return {(table, row[READ_MODELS[table].key]): row for table, rows in batch.rows.items() for row in rows}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
