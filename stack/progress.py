"""Short lines on standard output: what is happening and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(name: str, text: str) -> None:
    """Print one line, the name in a column of its own."""
    # In one piece with its end, as threads print side by side.
    print(f"{name:<13} {text}\n", end="", flush=True)


@contextmanager
def step(name: str, text: str) -> Iterator[None]:
    """Announce something slow before it begins and end its line with the seconds it took.

    Only for work that nothing else prints beside: the line stays open meanwhile.
    """
    began = time.monotonic()
    print(f"{name:<13} {text} … ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - began:.1f} s", flush=True)
