"""Forgetting somebody's face: where to look for it, and what is told of it. Pure; faces/forgetting.py does it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from streamapp.contracts import streams
from streamapp.faces.store import as_entry_id
from streamapp.names import DEAD_LETTERS, POST_CHANGES, POST_EVENTS, ROW_CHANGES

TOPICS = (
    *(streams.PROFILES, streams.PROFILE_EMBEDDINGS, streams.RECOGNITIONS),
    *(POST_EVENTS, POST_CHANGES, ROW_CHANGES),
)
REMAINS = (
    f"Kafka keeps messages until their retention ends (7 days unless set otherwise): {', '.join(TOPICS)}.",
    f"{DEAD_LETTERS} keeps for ever what could not be used; changelogs keep old rows until they are compacted.",
    "The streams in Redis, and users.profile_picture_url, are the backend's.",
    "Profile pictures are not cached. The user's id and the time of forgetting stay, so that nothing older counts.",
)
NOT_OURS = "not ours to write (STREAMAPP_SINK_TABLES): delete it there"
NOT_SEARCHED = "not searched any more: streamapp rebuild --drop-old deletes it"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left in a place; count None: unknown, and the note says why."""

    place: str
    count: int | None
    examples: tuple[str, ...] = ()
    note: str = ""

    def line(self) -> str:
        """For people."""
        if self.count is None:
            return f"{self.place}: unknown, {self.note}"
        shown = ", ".join([*self.examples, *["…"] * (self.count > len(self.examples))])
        return f"{self.place}: {self.count} ({shown})" + f"; {self.note}" * bool(self.note)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """How many rows, by table, and documents, by index that is not searched; media whose state is to follow."""

    rows: dict[str, int]
    documents: dict[str, int]
    rechecked: int

    def lines(self) -> list[str]:
        """For people."""
        found = [f"removed from {place}: {count}" for place, count in {**self.rows, **self.documents}.items() if count]
        return [*found, *[f"media that are compared again: {self.rechecked}"] * bool(self.rechecked)]


def queries(user_id: int, *, gone: bool) -> dict[str, dict[str, Any]]:
    """By index, what finds the documents that say that a user has a face or is on an image; gone: and that are theirs,
    or for them."""
    theirs = {
        "user_search": "user_id",
        "face_search": "uploader_id",
        "media_search": "uploader_id",
        "post_search": "author_id",
    }
    tagged = {"path": "detected_users", "query": {"term": {"detected_users.user_id": user_id}}}
    named: dict[str, list[dict[str, Any]]] = {
        "known_faces_index": [{"term": {"user_id": user_id}}],
        "user_search": [{"bool": {"filter": [{"term": {"user_id": user_id}}, {"term": {"face_enrolled": True}}]}}],
        "face_search": [{"term": {"identified_user_id": user_id}}],
        "media_search": [{"nested": tagged}],
        "post_search": [{"term": {"all_detected_user_ids": user_id}}],
    }
    if gone:
        for name, field in theirs.items():
            named[name].append({"term": {field: user_id}})
        named["feed_personalized"] = [{"term": {field: user_id}} for field in ("target_user_id", "uploader_id")]
    return {name: {"bool": {"should": either}} for name, either in named.items()}


def report(user_id: int, removed: Removed | None, left: Sequence[Left]) -> tuple[bool, dict[str, Any], str]:
    """Whether nothing is left; for programs; for people. removed None: it was only checked."""
    body: dict[str, Any] = {"userId": str(user_id)}
    lines = [f"user {user_id}"]
    if removed is not None:
        body["removed"] = dataclasses.asdict(removed)
        lines += [f"  {line}" for line in removed.lines() or ["there was nothing to remove in tables"]]
    body |= {"left": [dataclasses.asdict(each) for each in left], "remains": list(REMAINS)}
    lines += [f"  LEFT {each.line()}" for each in left]
    lines += [] if left else ["  nothing is left in tables, indices and the state"]
    return not left, body, "\n".join([*lines, *REMAINS])


def known(user_id: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the query known_of_user, for programs."""
    enrolment = None
    if row["kept"]:
        names = ("url", "model", "quality", "written", "suspended")
        when = {"clock": as_entry_id(row["clock"]), "enrolledAt": row["enrolled_at"].isoformat()}
        enrolment = {**when, **{name: row[name] for name in names}}
    return {
        "userId": str(user_id),
        "enrolment": enrolment,
        "forgotten": as_entry_id(row["clock"]) if row["clock"] is not None and not row["kept"] else None,
        "inUse": bool(row["in_use"]),
        "inAiTable": row["in_ai_table"],
        "identified": {"faces": row["identified_faces"], "media": row["identified_media"]},
        "suggested": {"faces": row["suggested_faces"], "media": row["suggested_media"]},
    }
