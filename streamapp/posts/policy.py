"""The settings the fold depends on, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Times in milliseconds. `model` is the engine's name, part of a task's generation."""

    model: str
    quiet: int
    timeout: int
    attempts: int = 3
    retry: int = 2000

    def backoff(self, failures: int) -> int:
        """Wait after so many failures: doubles with each."""
        return self.retry << (failures - 1)
