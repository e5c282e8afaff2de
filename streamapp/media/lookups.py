"""Host names looked up as the system does, in threads of their own: what hangs keeps nobody from another name."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

# A lookup cannot be ended, and takes half a minute when no name server answers (resolv.conf(5): up to three, twice 5 s
# each). So many are what some fifty fetches at once leave behind meanwhile, each given up after 8 s.
LIMIT = 256
NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Lookups(AbstractResolver):
    """Each lookup has a thread, `limit` of them at once; one that is given up before its turn is none.

    Not the event loop's threads, which are few and are used for other things too. Neither closing nor the end of the
    process waits for those that still hang.
    """

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._turns = asyncio.Semaphore(limit)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError, and UnicodeError for what cannot be a name."""
        await self._turns.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        thread = threading.Thread(
            target=self._look_up, args=(loop, answer, host, port, family), name="lookup", daemon=True
        )
        try:
            thread.start()
        except BaseException:
            self._turns.release()
            raise
        return [
            ResolveResult(
                hostname=host,
                # The zone of a link-local address: without it, it is another machine's.
                host=f"{address[0]}%{address[3]}" if len(address) == 4 and address[3] else address[0],
                port=address[1],
                family=found,
                proto=proto,
                flags=NUMERIC,
            )
            for found, _, proto, _, address in await answer
        ]

    async def close(self) -> None:
        """Nothing is held open."""

    def _look_up(
        self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[Any]], host: str, port: int, family: int
    ) -> None:
        """In the thread."""
        found: list[Any] = []
        trouble: Exception | None = None
        try:
            found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except Exception as error:
            trouble = error
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(self._tell, answer, found, trouble)

    def _tell(self, answer: asyncio.Future[list[Any]], found: list[Any], trouble: Exception | None) -> None:
        self._turns.release()  # only now, however long ago it was given up
        if answer.done():
            return
        if trouble is None:
            answer.set_result(found)
        else:
            answer.set_exception(trouble)
