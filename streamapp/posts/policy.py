"""The settings the fold depends on, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE = 10_000  # a compromise: how long a post is partial too late when the backlog ends without its answer


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Times in milliseconds. `model` is the engine's name, part of a task's generation."""

    model: str
    quiet: int
    timeout: int
    max_wait: int  # from when the post was opened; a backlog puts the timeout off so far
    attempts: int = 3
    retry: int = 2000

    @property
    def patience(self) -> int:
        """How soon to look again at a post whose timeout a backlog put off."""
        return min(self.timeout, PATIENCE)

    def backoff(self, failures: int) -> int:
        """Wait after so many failures: doubles with each."""
        return self.retry << (failures - 1)
