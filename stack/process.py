"""Running a program to its end, as whom it must run, and saying what it printed when it failed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stack.account import Account
from stack.errors import StackError

TAIL_LINES = 20


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a text."""
    return "\n".join(text.splitlines()[-lines:])


def identity(account: Account | None) -> dict[str, Any]:
    """The arguments with which `subprocess` starts a child under this account."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    script: str = "",
    what: str | None = None,
) -> str:
    """Run a program with this standard input and return what it printed.

    Raises StackError with the end of what it printed when it fails.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv,
        cwd=cwd,
        env=environment,
        input=script,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **identity(account),
    )
    if done.returncode != 0:
        raise StackError(f"{what or Path(argv[0]).name} failed with code {done.returncode}:\n{tail(done.stdout)}")
    return done.stdout
