"""`streamapp faces`: who a face is near to, and how near stored faces are to known ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamapp.engines.registry import load_faces
from streamapp.engines.weights import ModelsError
from streamapp.errors import Unavailable
from streamapp.faces import stats as distribution
from streamapp.faces.corrections import pending
from streamapp.faces.matching import cosine, thresholds
from streamapp.faces.store import KnownFaces
from streamapp.faces.who import Seen, compared, from_picture, is_face_id, stored, text
from streamapp.media.errors import FetchError
from streamapp.media.fetch import Fetcher
from streamapp.media.image import ImageError, decode
from streamapp.settings import Settings, get_settings
from streamapp.sinks.database import TROUBLE, open_pool
from streamapp.sinks.postgres import read_models
from streamapp.sinks.statements import Statements, texts

PATIENCE = 600.0  # seconds that a large sample may take


async def who(what: str) -> tuple[bool, Any, str]:
    """The nearest known faces of a stored face, or of each face of an image. Bad when there is no face."""
    settings = get_settings()
    try:
        async with _known_faces(settings) as known:
            if is_face_id(what):
                seen = await stored(known, what)
                if seen is None:
                    return _bad(f"no face {what} is stored")
                faces: Sequence[Seen] = [seen]
            else:
                faces = await _found(what, settings)
                if not faces:
                    return _bad(f"no face in {what}")
            told = await compared(known, faces)
    except (FetchError, ImageError) as error:
        return _bad(f"{what}: {error}")
    except (Unavailable, ModelsError) as error:
        return _bad(str(error))
    return True, {"faces": told}, text(told)


async def stats(sample: int) -> tuple[bool, Any, str]:
    """How the cosines of stored faces distribute, and what is still to be compared."""
    settings, send = get_settings(), Statements()
    try:
        async with _known_faces(settings) as known:
            async with known.pool.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL enable_seqscan = off")  # as in nearest_known_faces(): by the index
                rows = await connection.fetch(texts()["nearest_of_sample"], sample, timeout=PATIENCE)
            waiting = await pending(known.pool, send)
    except (Unavailable, *TROUBLE) as error:
        return _bad(f"{type(error).__name__}: {error}")
    faces = [
        distribution.Stored(
            row["status"] if row["status"] in distribution.STATUSES else "UNKNOWN",
            None if row["distance"] is None or math.isnan(row["distance"]) else cosine(row["distance"]),
        )
        for row in rows
    ]
    found = distribution.summarise(faces, known.thresholds) | {"pending": waiting}
    todo = "{changes:,} known faces to look for, {media:,} media to compare again, {awaiting:,} users awaited"
    return True, found, f"{distribution.text(found)}\nstill to be done: {todo.format(**waiting)}"


async def _found(what: str, settings: Settings) -> list[Seen]:
    """The faces in a file, or in what a URL gives, looked for with the settings of the workers."""
    if what.startswith(("http://", "https://")):
        fetcher = Fetcher(
            max_bytes=settings.fetch_max_bytes,
            timeout_seconds=settings.fetch_timeout_seconds,
            allowed_hosts=settings.fetch_allowed_hosts,
        )
        try:
            raw = await fetcher.fetch(what)
        finally:
            await fetcher.aclose()
    else:
        try:
            raw = await asyncio.to_thread(Path(what).read_bytes)
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    picture = decode(raw, max_pixels=settings.fetch_max_pixels, min_side=settings.decode_min_side)
    (found,) = load_faces(settings).faces([picture])
    return from_picture(found.faces)


@asynccontextmanager
async def _known_faces(settings: Settings) -> AsyncIterator[KnownFaces]:
    pool = await open_pool(settings.postgres_url, max_size=1)
    try:
        yield KnownFaces(
            pool,
            send=Statements(),
            rows=read_models(pool, settings).sweep.faces,
            thresholds=thresholds(settings),
            width=settings.face_embedding_dim,
        )
    finally:
        await pool.close()


def _bad(line: str) -> tuple[bool, Any, str]:
    return False, {"error": line}, line
