"""The account that servers run as: the caller's own, or an unprivileged one where the caller is root.

PostgreSQL and Elasticsearch refuse to run as root, and a Redis without a password must not.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user and its group, by number."""

    uid: int
    gid: int


def server_account() -> Account | None:
    """The account of the servers, or None where they simply run as the caller.

    Raises StackError when the account named by STACK_USER (default `nobody`) does not exist.
    """
    if os.geteuid() != 0:
        return None
    name = os.environ.get("STACK_USER", "nobody")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise StackError(f"there is no user {name!r} to run the servers as; set STACK_USER") from None
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def can_execute(path: Path, account: Account | None) -> bool:
    """Whether the account reaches and may execute this file: asked of the kernel, as that account."""
    if account is None:
        return os.access(path, os.X_OK)
    probe = subprocess.run(
        ["/usr/bin/test", "-x", path],
        cwd="/",
        check=False,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
    )
    return probe.returncode == 0


def owned_directory(path: Path, account: Account | None) -> Path:
    """Make a directory for the account to write to, closed to others.

    Its parent must not be writable for the account, which could otherwise direct root's chown elsewhere.
    """
    path.mkdir(parents=True, exist_ok=True)
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    path.chmod(0o700)
    return path


def public_file(path: Path, text: str) -> None:
    """Write a file that everyone may read, as a new one: never through a link that someone left there."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)


def let_everyone_read(tree: Path) -> None:
    """Give others read access to a tree (and execute where its owner has it), whatever the umask was."""
    for path in (tree, *tree.rglob("*")):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
