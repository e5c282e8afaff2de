"""A whole system of one's own, on its own ports and data, gone afterwards: for the demo and the bench."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping

import samples
import stack


@contextlib.contextmanager
def running(name: str, *, workers: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[Mapping[str, str]]:
    """Servers, bridge and workers with default settings, but for those given; gives their STREAMAPP_* URLs.

    Raises stack.StackError.
    """
    for setting in [setting for setting in os.environ if setting.startswith("STREAMAPP_")]:
        del os.environ[setting]  # the same for everybody
    os.environ |= {"STREAMAPP_ENV_FILE": os.devnull, **samples.SETTINGS, **(settings or {})}
    _clear(name)
    try:
        stack.up(name, workers=workers)
        yield stack.environment(name)
    finally:
        _clear(name)


def _clear(name: str) -> None:
    """Stop and delete without a word: the last thing to read is what was found."""
    with contextlib.redirect_stdout(io.StringIO()):
        stack.wipe(name)
