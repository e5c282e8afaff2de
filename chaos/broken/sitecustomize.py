"""Makes workers lose work: an event is acknowledged when it arrives, not when what it sends is confirmed.

Python imports this module at start where its folder is on PYTHONPATH; nothing but the harness puts it there. It waits
for streamapp.delivery, because importing that here would start the application before Faust's command line.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

TARGET = "streamapp.delivery"


class Hasty:
    """A stream whose events are acknowledged before anybody works on them."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def noack(self) -> Hasty:
        self._stream = self._stream.noack()
        return self

    async def events(self) -> AsyncIterator[Any]:
        async for event in self._stream.events():
            event.ack()
            yield event


def breaks(module: ModuleType) -> None:
    """Replace Lane.run by one that works on a hasty stream."""
    run = module.Lane.run

    async def hasty(lane: Any, stream: Any) -> None:
        await run(lane, Hasty(stream))

    module.Lane.run = hasty
    print("BROKEN ON PURPOSE: events are acknowledged when they arrive", file=sys.stderr, flush=True)


class _Breaking(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        breaks(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != TARGET:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Breaking(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
