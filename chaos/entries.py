"""What the entries of the streams say together: pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote

from streamapp.contracts.streams import ENRICHED, ERRORS, FACES, INSIGHTS
from streamapp.insights import SERVICES
from streamapp.posts.clock import newer

Fields: TypeAlias = Mapping[str, str]
Entries: TypeAlias = Sequence[tuple[str, Fields]]

STREAMS = (INSIGHTS, FACES, ENRICHED, ERRORS)
# Of no final payload: how many facts came (duplicates are facts), which result it is, and when.
IGNORED = {"revision", "resultId", "timestamp"}
# A single result also says what its image lacked at that moment, and ids of faces made of the request's entry id.
IGNORED_IN_RESULTS = {*IGNORED, "completeness", "missing", "faceId"}


class Slot(NamedTuple):
    """What is to be answered once for each request: one service of one media."""

    post: str
    media: str
    service: str


class Answer(NamedTuple):
    """A result or a failure, read from its result id `post:media:service:clock/model[:failed]`."""

    slot: Slot
    clock: str
    failed: bool


def answer(stream: str, fields: Fields) -> Answer | None:
    """The answer in a result message; None where it is about no service of a media."""
    parts = [unquote(part) for part in fields.get("resultId", "").split(":")]
    if stream not in (INSIGHTS, FACES, ERRORS) or len(parts) not in (4, 5) or parts[2] not in SERVICES:
        return None
    return Answer(Slot(*parts[:3]), parts[3].partition("/")[0], parts[4:] == ["failed"])


def newest(requests: Entries) -> dict[tuple[str, str], str]:
    """Entry id of the newest request of each (post, media): it is what the final state is about."""
    clocks: dict[tuple[str, str], str] = {}
    for entry_id, fields in requests:
        media = fields["postId"], fields["mediaId"]
        if newer(entry_id, clocks.get(media)):
            clocks[media] = entry_id
    return clocks


def wanted(clocks: Iterable[tuple[str, str]]) -> set[Slot]:
    """Every slot that has to have an answer."""
    return {Slot(post, media, service) for post, media in clocks for service in SERVICES}


def answers(streams: Mapping[str, Entries], clocks: Mapping[tuple[str, str], str]) -> dict[Slot, dict[str, str]]:
    """The answers to the newest requests, without what is ignored; `stream` tells where it came."""
    found: dict[Slot, dict[str, str]] = {}
    for stream, entries in streams.items():
        for _, fields in entries:
            if (said := answer(stream, fields)) is not None and clocks.get(said.slot[:2]) == said.clock:
                known = found.get(said.slot, {})
                places = {stream, *filter(None, known.get("stream", "").split(" "))}
                found[said.slot] = _kept(fields, IGNORED_IN_RESULTS) | {"stream": " ".join(sorted(places))}
    return found


def final(entries: Entries) -> dict[str, dict[str, str]]:
    """The last payload of each post, without what is ignored."""
    return {fields["postId"]: _kept(fields, IGNORED) for _, fields in entries}


def doubled(streams: Mapping[str, Entries]) -> list[str]:
    """Result ids that came more than once, with their stream and how often."""
    times = Counter((stream, fields.get("resultId", "")) for stream, es in streams.items() for _, fields in es)
    return [f"{stream} {result} {count} times" for (stream, result), count in times.items() if count > 1]


def recovery(streams: Mapping[str, Entries], killed: int) -> tuple[float | None, float | None]:
    """Seconds from a kill (milliseconds since 1970) to the next result, and until the last result of what had been
    asked for before the kill; None where nothing came, or everything was answered already."""
    times = [(_ms(entry_id), answer(stream, fields)) for stream, es in streams.items() for entry_id, fields in es]
    after = [(at, said) for at, said in times if at > killed]
    behind = [at for at, said in after if said is not None and _ms(said.clock) <= killed]
    first = min((at for at, _ in after), default=None)
    return _since(killed, first), _since(killed, max(behind, default=None))


def _since(begin: int, end: int | None) -> float | None:
    return None if end is None else (end - begin) / 1000


def _ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _kept(fields: Fields, ignored: set[str]) -> dict[str, str]:
    return {name: _anonymous(text) if name == "faces" else text for name, text in fields.items() if name not in ignored}


def _anonymous(faces: str) -> str:
    """Faces without their ids."""
    listed = json.loads(faces)
    return json.dumps([{n: v for n, v in face.items() if n not in IGNORED_IN_RESULTS} for face in listed])
