"""A whole system of one's own, on its own ports and data, gone afterwards: for the demo and the bench."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping

import stack


@contextlib.contextmanager
def running(name: str) -> Iterator[Mapping[str, str]]:
    """Servers, bridge and a worker with default settings; gives their STREAMAPP_* URLs. Raises stack.StackError."""
    for setting in [setting for setting in os.environ if setting.startswith("STREAMAPP_")]:
        del os.environ[setting]  # the same for everybody
    os.environ |= {"STREAMAPP_ENV_FILE": os.devnull, "STREAMAPP_FETCH_ALLOWED_HOSTS": "127.0.0.1"}
    _clear(name)
    try:
        stack.up(name, workers=1)
        yield stack.environment(name)
    finally:
        _clear(name)


def _clear(name: str) -> None:
    """Stop and delete without a word: the last thing to read is what was found."""
    with contextlib.redirect_stdout(io.StringIO()):
        stack.wipe(name)
