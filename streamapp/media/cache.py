"""Pictures that several agents of this process want at about the same time: fetched and decoded once."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from streamapp.media.files import Files
from streamapp.media.image import Picture, decode

Key = tuple[str, str]


class Pictures:
    """Decoded pictures by (url, generation), the least recently used dropped first.

    fetch: the bytes at a URL. executor: where decoding happens. max_bytes: of pixels kept, 3 per pixel.
    max_pixels, min_side: see decode(). files: where the bytes of pictures are kept, so that they are not fetched again.
    Failures are shared by the callers of one flight and not kept.
    """

    def __init__(
        self,
        *,
        fetch: Callable[[str], Awaitable[bytes]],
        executor: Executor,
        max_bytes: int,
        max_pixels: int,
        min_side: int = 0,
        files: Files | None = None,
    ) -> None:
        self._fetch = fetch
        self._executor = executor
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._min_side = min_side
        self._files = files
        self.sources: Counter[str] = Counter()  # where pictures came from: "memory", "shared" flight, "disk", "fetched"
        self._kept: OrderedDict[Key, Picture] = OrderedDict()
        self._kept_bytes = 0
        self._flights: dict[Key, asyncio.Task[Picture]] = {}

    @property
    def kept_bytes(self) -> int:
        """Bytes of pixels kept now."""
        return self._kept_bytes

    async def get(self, url: str, generation: str) -> Picture:
        """The picture at url. `generation` names the request, so that a new one sees a replaced file.

        Raises FetchError or ImageError.
        """
        key = (url, generation)
        if (picture := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            self.sources["memory"] += 1
            return picture
        if (flight := self._flights.get(key)) is not None:
            self.sources["shared"] += 1
        else:
            flight = asyncio.create_task(self._fly(url, generation))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)  # a caller that gives up leaves the flight to the others

    async def aclose(self) -> None:
        """Cancel what is under way and forget what is kept."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._kept.clear()
        self._kept_bytes = 0

    async def _fly(self, url: str, generation: str) -> Picture:
        loop = asyncio.get_running_loop()
        if self._files is not None:
            raw = await loop.run_in_executor(self._executor, self._files.get, url, generation)
            if raw is not None:
                self.sources["disk"] += 1
                return await loop.run_in_executor(self._executor, self._decode, raw)
        raw = await self._fetch(url)
        self.sources["fetched"] += 1
        return await loop.run_in_executor(self._executor, self._decode_and_keep, url, generation, raw)

    def _decode_and_keep(self, url: str, generation: str, raw: bytes) -> Picture:
        picture = self._decode(raw)
        if self._files is not None:  # and only what is a picture
            self._files.put(url, generation, raw)
        return picture

    def _decode(self, raw: bytes) -> Picture:
        return decode(raw, max_pixels=self._max_pixels, min_side=self._min_side)

    def _land(self, key: Key, flight: asyncio.Task[Picture]) -> None:
        del self._flights[key]
        # exception() also tells asyncio that a failure was seen when every caller gave up meanwhile.
        if flight.cancelled() or flight.exception() is not None:
            return
        picture = flight.result()
        if picture.pixels.nbytes > self._max_bytes:  # would push out all others and then not fit either
            return
        self._kept[key] = picture
        self._kept_bytes += picture.pixels.nbytes
        while self._kept_bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= dropped.pixels.nbytes
