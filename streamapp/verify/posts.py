"""Posts against their rows and results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from streamapp.posts.state import Post
from streamapp.sinks.parts import Refused, database_id
from streamapp.verify import wanted
from streamapp.verify.findings import Findings
from streamapp.verify.judgement import judge
from streamapp.verify.looks import look_again
from streamapp.verify.results import Results
from streamapp.verify.rows import Rows
from streamapp.verify.state import State
from streamapp.verify.wanted import Known, WantedRow

MEDIA_AT_ONCE = 50  # a media with many faces has some hundred kB of state, and as much of results


class Posts:
    """Every method raises what its parts raise: StateUnavailable, OSError, asyncpg's errors, RedisError."""

    def __init__(self, *, state: State, rows: Rows, results: Results, wait: float) -> None:
        """`wait`: seconds that something may be on its way."""
        self.state = state
        self.rows = rows
        self.results = results
        self.wait = wait

    async def all(self) -> Findings:
        """What differs in the posts of the state, and in the rows of posts that it does not know."""
        findings, known = Findings(), set[int]()
        async for page in self.state.posts():
            known.update(number for post in page if (number := database_id(post.post_id)) is not None)
            for some in _by_size(page):
                findings.add(await self.some(some))
        async for numbers in self.rows.posts_but(known):
            findings.add(await self.some(list(map(str, numbers))))
        return findings

    async def some(self, post_ids: Sequence[str]) -> Findings:
        """What differs in these posts."""
        return await look_again(self._look, post_ids, wait=self.wait)

    async def _look(self, post_ids: Sequence[str]) -> dict[str, Findings]:
        posts = await asyncio.gather(*map(self.state.known, post_ids))
        await self.results.streams.read()  # after the state, so that what it knows as answered is there
        found = {known.post_id: await self.results.look(known) for known in posts}
        pieces = {known.post_id: list(self._pieces(known)) for known in posts}
        parts = [row.part for rows in pieces.values() for row in rows if isinstance(row, WantedRow)]
        numbers = {known.post_id: database_id(known.post_id) for known in posts}
        seen = await self.rows.see(parts, [number for number in numbers.values() if number is not None])
        for known in posts:
            number = numbers[known.post_id]
            there = seen.present.get(number, ()) if number is not None else ()
            findings = found[known.post_id]
            findings.add(judge(known, pieces[known.post_id], there, seen))
            findings.differences += wanted.inconsistencies(known)
            findings.compared["posts"] += known.post is not None
            findings.compared["media"] += len(known.media)
        return found

    def _pieces(self, known: Known) -> Iterator[WantedRow | Refused]:
        """What there should be in the tables that are written."""
        for piece in wanted.rows(known):
            if not isinstance(piece, WantedRow) or piece.part.table in self.rows.parts:
                yield piece


def _by_size(posts: Sequence[Post]) -> Iterator[list[str]]:
    """The ids of posts, in lists of so many that their media are few."""
    some: list[str] = []
    size = 0
    for post in posts:
        if some and size + len(post.media) > MEDIA_AT_ONCE:
            yield some
            some, size = [], 0
        some.append(post.post_id)
        size += 1 + len(post.media)
    if some:
        yield some
