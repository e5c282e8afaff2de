"""What the supervisor keeps running: one child process, how it is prepared, known to be ready, and stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stack.account import Account


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process to keep.

    `prepare` runs before every start, with the directory there already. `ready` asks the running process,
    by its own protocol, whether it serves; an OSError from it means "not yet". Times are seconds.
    """

    name: str
    argv: Sequence[str | Path]
    directory: Path
    ready: Callable[[], bool]
    ports: Mapping[str, int] = field(default_factory=dict)  # by role; the first is where clients connect
    prepare: Callable[[], object] = lambda: None
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None  # None: the caller's
    working_directory: Path | None = None  # None: `directory`
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 30
    ready_timeout: float = 120

    @property
    def port(self) -> int | None:
        """Where clients connect."""
        return next(iter(self.ports.values()), None)


def server_environment(directory: Path) -> dict[str, str]:
    """The whole environment of a server: nothing of the caller's own reaches it."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(directory)}
