"""Looking again: what is on its way is no difference."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from streamapp.verify.findings import Findings

K = TypeVar("K")

PAUSE = 1.0  # seconds between looks


async def look_again(
    look: Callable[[Sequence[K]], Awaitable[dict[K, Findings]]], keys: Sequence[K], *, wait: float
) -> Findings:
    """What the look finds; where it finds differences, what it still finds after `wait` seconds."""
    found = await look(keys)
    end = time.monotonic() + wait
    while differing := [key for key, findings in found.items() if findings.differences]:
        if time.monotonic() >= end:
            break
        await asyncio.sleep(min(PAUSE, wait))
        found |= await look(differing)
    whole = Findings()
    for findings in found.values():
        whole.add(findings)
    return whole
