"""What was started: processes by (pid, creation time), so that nobody ever signals a stranger."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from stack.errors import StackError

# A process's creation time is derived from the time of boot, which follows corrections of the clock.
# A pid that comes back within this many seconds would need the whole pid space to pass in between.
SAME_SECONDS = 2.0


@dataclass(frozen=True)
class Mark:
    """One process: its pid and the time it was created (seconds since the epoch)."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Mark:
        """Mark a process that runs now. Raises psutil.NoSuchProcess when it does not."""
        return cls(pid=pid, created=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The living process that this marks, or None: gone, a zombie, or the pid is someone else's now."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process if abs(process.create_time() - self.created) < SAME_SECONDS else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A started service: its process, that process's descendants once it was ready, and how to stop it."""

    main: Mark
    descendants: tuple[Mark, ...] = ()
    port: int | None = None
    stop_signal: int
    stop_timeout: float

    @property
    def alive(self) -> bool:
        """Whether the service's own process lives."""
        return self.main.process() is not None


def family(mark: Mark) -> tuple[Mark, ...]:
    """The descendants that a process has at this moment."""
    process = mark.process()
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in process.children(recursive=True) if process else ():
            with suppress(psutil.NoSuchProcess):  # it ended while we looked
                found.append(Mark.of(child.pid))
    return tuple(found)


def living(marks: Iterable[Mark]) -> list[psutil.Process]:
    """Those of the marked processes that still live."""
    return [process for mark in marks if (process := mark.process()) is not None]


def load(path: Path) -> dict[str, Record]:
    """Read the records, oldest first. Raises StackError when the file is not what `save` wrote."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Record])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        raise StackError(f"{path} is damaged ({error}); stop its servers by hand, then delete it") from error


def save(path: Path, records: dict[str, Record]) -> None:
    """Replace the file in one step, so that a reader or a crash never sees half of it."""
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1))
    os.replace(draft, path)
