"""Ends a worker that stood still for so long that others may have its partitions.

A process that was frozen (a paused machine, SIGSTOP, throttling) beyond the session timeout has lost its partitions
without knowing it. What it still has in hand would overwrite newer rows of state in the changelogs, so it leaves at
once, as if killed: all of it comes again, to whoever has the partitions now.
"""

from __future__ import annotations

import os
import sys
import threading
import time

BEAT = 0.1  # seconds
EXIT_CODE = 70  # EX_SOFTWARE: a supervisor starts it again


def now() -> float:
    """Seconds that also count while the machine is suspended, where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def watch(limit: float) -> threading.Thread:
    """Start to watch: a gap of more than `limit` seconds between two beats of a thread ends the process."""
    thread = threading.Thread(target=_beat, args=(limit,), name="watchdog", daemon=True)
    thread.start()
    return thread


def leave_within(seconds: float) -> None:
    """End the process after so many seconds: a server that hangs must not keep a worker that was told to stop. What
    it had in hand is not acknowledged and comes again."""

    def leave() -> None:
        sys.stderr.write(f"watchdog: not stopped within {seconds:g} s: it leaves\n")
        sys.stderr.flush()
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _beat(limit: float) -> None:
    last = now()
    while True:
        time.sleep(BEAT)
        gap = now() - last
        if gap > limit:
            sys.stderr.write(f"watchdog: the worker stood still for {gap:.1f} s (limit {limit:g} s): it leaves\n")
            sys.stderr.flush()
            os._exit(EXIT_CODE)
        last = now()
