"""Models that can also put a text into the space of their image vectors. Not every one can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol, runtime_checkable

import numpy as np

from streamapp.engines.base import Vision

PATIENCE = 10.0  # seconds that a search waits for the vector of its words


@runtime_checkable
class EmbedsTexts(Protocol):
    """Synchronous work for an executor thread."""

    def embed_texts(self, texts: Sequence[str]) -> list[bytes]:
        """One vector per text: little-endian float32, of length 1, comparable with image vectors."""
        ...


def embedder(vision: Vision, executor: Executor | None = None) -> Callable[[str], Awaitable[Sequence[float]]] | None:
    """Its vectors of texts, made in the executor; None where it has none. Raises TimeoutError after PATIENCE."""
    if not isinstance(vision, EmbedsTexts):
        return None
    texts = vision

    async def embed(text: str) -> Sequence[float]:
        looking = asyncio.get_running_loop().run_in_executor(executor, texts.embed_texts, [text])
        (raw,) = await asyncio.wait_for(looking, PATIENCE)
        return [float(value) for value in np.frombuffer(raw, "<f4")]

    return embed
