"""Results against state: each one there once, saying what the state says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from streamapp.contracts import ContractError, read_result
from streamapp.contracts.streams import ENRICHED
from streamapp.posts.state import Post
from streamapp.verify import wanted
from streamapp.verify.findings import Difference, Findings
from streamapp.verify.streams import Fields, Streams
from streamapp.verify.wanted import Known, WantedMessage

# When a result was written first, and at which revision of its post, the state no longer says.
PASSING = {"at", "revision"}


class Results:
    """The streams, compared with what the state says should be in them."""

    def __init__(self, streams: Streams, *, dialect: str) -> None:
        self.streams = streams
        self.dialect = dialect

    async def look(self, known: Known) -> Findings:
        """What differs in the results of a post; the streams were read after the state. Raises RedisError."""
        findings = Findings()
        there = [each for each in wanted.messages(known, self.dialect) if self._is_there(known, each, findings)]
        places = [(m.stream, self.streams.place(m.stream, m.result_id) or "") for m, _, _ in there]
        for (message, media_id, _), found in zip(there, await self.streams.entries(places), strict=True):
            said = read_result(message.stream, message.fields, self.dialect)
            said = {name: value for name, value in said.items() if name not in PASSING}
            findings.differences += self._different(message.stream, said, found, post=known.post_id, media=media_id)
        if known.alive is not None and known.alive.emitted is not None:
            await self._aggregate(known, known.alive, findings)
        return findings

    def _is_there(self, known: Known, each: WantedMessage, findings: Findings) -> bool:
        findings.compared["results"] += 1
        stream, result_id = each.message.stream, each.message.result_id
        where, ids = f"result {stream}", {"post": known.post_id, "media": each.media_id}
        if self.streams.place(stream, result_id) is None:
            if self.streams.trimmed(stream, each.at):
                findings.tell(f"results that {stream} no longer keeps", result_id)
            else:
                findings.differences.append(Difference(kind="missing", where=where, expected=result_id, **ids))
            return False
        if (times := self.streams.times(stream, result_id)) > 1:
            doubled = Difference(kind="doubled", where=where, expected=result_id, found=times, **ids)
            findings.differences.append(doubled)
        return True

    async def _aggregate(self, known: Known, post: Post, findings: Findings) -> None:
        """The last aggregate. Of one that later facts have made old, the state says how complete it was."""
        findings.compared["results"] += 1
        where, last = f"result {ENRICHED}", self.streams.last(known.post_id)
        message, at = wanted.aggregate(known, self.dialect) or (None, 0)
        if last is None:
            if self.streams.trimmed(ENRICHED, at):
                findings.tell(f"results that {ENRICHED} no longer keeps", f"post {known.post_id}")
            else:
                expected = "an aggregate" if message is None else message.result_id
                missing = Difference(kind="missing", where=where, post=known.post_id, expected=expected)
                findings.differences.append(missing)
            return
        result_id, entry_id = last
        (found,) = await self.streams.entries([(ENRICHED, entry_id)])
        said: Mapping[str, Any] = {"completeness": post.emitted}
        if message is not None:
            said = read_result(ENRICHED, message.fields, self.dialect)
            if (times := self.streams.times(ENRICHED, result_id)) > 1:
                doubled = Difference(kind="doubled", where=where, post=known.post_id, expected=result_id, found=times)
                findings.differences.append(doubled)
        findings.differences += self._different(ENRICHED, said, found, post=known.post_id)

    def _different(
        self, stream: str, said: Mapping[str, Any], fields: Fields | None, **ids: str | None
    ) -> Iterator[Difference]:
        """What a message says otherwise than it should, by the names of values."""
        where = f"result {stream}"
        if fields is None:
            yield Difference(kind="missing", where=where, expected=said.get("result_id"), **ids)
            return
        try:
            found = read_result(stream, fields, self.dialect)
        except ContractError as error:
            yield Difference(kind="result", where=where, field=error.field, found=str(error), **ids)
            return
        for name, value in said.items():
            if _comparable(name, value) != _comparable(name, found.get(name)):
                yield Difference(kind="result", where=where, field=name, expected=value, found=found.get(name), **ids)


def _comparable(name: str, value: Any) -> Any:
    """Why something is missing is told in words that change with each attempt, under the same result id."""
    if name == "missing" and value is not None:
        return [(each["media_id"], each["service"]) for each in value]
    return value
