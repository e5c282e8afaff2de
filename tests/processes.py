"""What tests do to the processes of a system beside starting and killing them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from system import System


@contextmanager
def frozen(system: System, name: str) -> Iterator[None]:
    """A process that hangs with all its children: connections stay, nothing answers."""
    pid = system.pid(name)
    assert pid is not None
    main = psutil.Process(pid)
    family = [main, *main.children(recursive=True)]
    try:
        for process in family:
            process.suspend()
        yield
    finally:
        for process in reversed(family):
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def terminate(system: System, name: str, *, patience: float = 20.0) -> tuple[int | None, float]:
    """SIGTERM to a process that this run has started: its exit code and how many seconds it took.

    One that is still there after `patience` seconds is killed, code None.
    """
    pid = system.pid(name)
    assert pid is not None
    process = psutil.Process(pid)
    begin = time.monotonic()
    process.terminate()
    code = None
    try:
        code = await asyncio.to_thread(process.wait, patience)
    except psutil.TimeoutExpired:
        process.kill()
    took = time.monotonic() - begin
    await asyncio.to_thread(system.down, name)  # off the record
    return code, took
