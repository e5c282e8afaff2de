"""How far something is: a bar on a terminal, a plain line now and then elsewhere. On standard error."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 24  # characters of the bar
ON_A_TERMINAL = 0.1  # seconds between two
ELSEWHERE = 5.0


class Progress:
    """Call it with what is done, how much of it, and of how much."""

    def __init__(self, label: str, *, stream: TextIO = sys.stderr) -> None:
        self.label = label
        self.stream = stream
        self._bar = stream.isatty()
        self._what = ""
        self._begun = (0.0, 0)  # when, and what was done already
        self._shown = 0.0
        self._line = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self.end()
            self._what, self._begun, self._shown = what, (now, done), 0.0
        begun, before = self._begun
        every = ON_A_TERMINAL if self._bar else ELSEWHERE
        if done < total and now - self._shown < every:
            return
        line = told(self.label, what, done, total, seconds=now - begun, before=before, bar=self._bar)
        if line != self._line:
            self.stream.write(f"\r\x1b[K{line}" if self._bar else f"{line}\n")
            self.stream.flush()
        self._shown, self._line = now, line

    def end(self) -> None:
        """Leave the line."""
        if self._bar and self._line:
            self.stream.write("\n")
        self._line = ""


def told(label: str, what: str, done: int, total: int, *, seconds: float, before: int = 0, bar: bool = False) -> str:
    """The line. `before` was done when the seconds began: it says nothing of the rate."""
    share = done / total if total else 1.0
    rate = (done - before) / seconds if seconds > 0 else 0.0
    drawn = f" [{'#' * int(share * WIDTH):<{WIDTH}}]" if bar else ""
    left = f", {_time((total - done) / rate)} left" if rate > 0 and done < total else ""
    return f"{label}{drawn} {done:,}/{total:,} {what} ({share:.0%}), {rate:,.0f}/s{left}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
