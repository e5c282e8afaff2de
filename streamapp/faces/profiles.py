"""Profile pictures: fetched, looked at, and the face in them enrolled."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from streamapp.engines.batching import Looks
from streamapp.faces.enrolment import Demands, EnrolmentRefused, choose, quality
from streamapp.faces.store import Enrolment, KnownFaces
from streamapp.insights import FaceDetection, Insight
from streamapp.media.errors import FetchError
from streamapp.media.image import ImageError, Picture
from streamapp.sinks.parts import database_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """fetch: the file at a URL; it is kept nowhere, so that there is nothing to forget. decode: in a thread.
    attempts: of what another one may cure. retry: seconds before the second one, doubles with each."""

    fetch: Callable[[str], Awaitable[bytes]]
    decode: Callable[[bytes], Awaitable[Picture]]
    looks: Looks
    store: KnownFaces
    demands: Demands
    attempts: int
    retry: float

    async def read(self, user_id: str, url: str, clock: str) -> Enrolment:
        """The face in the picture at a URL; without a look where it is the picture that the user is enrolled with.

        Raises EnrolmentRefused, FetchError, ImageError and Unavailable.
        """
        number = database_id(user_id)
        known = None if number is None else await self.store.enrolled(number)
        for attempt in range(1, self.attempts + 1):
            try:
                raw = await self.fetch(url)
                sha256 = hashlib.sha256(raw).digest()
                if known is not None and (known.sha256, known.model) == (sha256, self.looks.model):
                    return replace(known, url=url)
                picture = await self.decode(raw)
                return self._chosen(await self.looks.look(picture, alone=attempt > 1), url, clock, sha256)
            except (EnrolmentRefused, ImageError):
                raise
            except Exception as error:  # whatever an engine raises is this picture's failure, told with its name
                if getattr(error, "permanent", False) or attempt == self.attempts:
                    if isinstance(error, FetchError):
                        raise
                    raise EnrolmentRefused(f"{type(error).__name__}: {error}") from error
                logger.warning("the picture of user %s failed, attempt %d: %s", user_id, attempt, error)
                await asyncio.sleep(self.retry * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _chosen(self, found: Sequence[Insight], url: str, clock: str, sha256: bytes) -> Enrolment:
        detection = found[0]
        assert isinstance(detection, FaceDetection)
        face = choose(detection.faces, self.demands)
        return Enrolment(
            clock=clock,
            sha256=sha256,
            model=self.looks.model,
            embedding=face.embedding or b"",
            url=url,
            quality=quality(face),
        )
