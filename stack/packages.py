"""Programs that come from the operating system: found on PATH, or installed where that is possible."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from stack.errors import StackError
from stack.process import run
from stack.progress import step

REDIS_MAJOR = 7  # XAUTOCLAIM reports deleted entries and XINFO GROUPS the lag from here on


def program(name: str, *, package: str) -> Path:
    """The program on PATH, installed from its Debian package when it is missing and the caller may do that.

    Raises StackError, naming what to install, when it cannot be had.
    """
    if found := shutil.which(name):
        return Path(found)
    if (reason := cannot_install(os.geteuid(), shutil.which("apt-get"))) is not None:
        raise StackError(f"{name} is not on PATH and {reason}: install it (on Debian: apt install {package})")
    with step(package, "installing with apt"):
        try:
            _apt("install", "-y", "--no-install-recommends", package)
        except StackError:  # a fresh machine may hold no package lists, or old ones
            _apt("update")
            _apt("install", "-y", "--no-install-recommends", package)
    if found := shutil.which(name):
        return Path(found)
    raise StackError(f"apt installed {package}, but {name} is still not on PATH")


def cannot_install(uid: int, apt: str | None) -> str | None:
    """Why a missing program cannot be installed from here, or None when it can."""
    if apt is None:
        return "this system has no apt"
    return None if uid == 0 else "only root can install it"


def redis_server() -> Path:
    """A redis-server of a version that will do. Raises StackError when there is none."""
    path = program("redis-server", package="redis-server")
    if (found := redis_major(run([path, "--version"]))) < REDIS_MAJOR:
        raise StackError(f"{path} is Redis {found}; version {REDIS_MAJOR} or later is needed, first on PATH")
    return path


def redis_major(version: str) -> int:
    """The major version in what `redis-server --version` prints."""
    if (match := re.search(r"\bv=(\d+)\.", version)) is None:
        raise StackError(f"redis-server --version printed {version!r}")
    return int(match[1])


def _apt(*arguments: str) -> None:
    run(["apt-get", *arguments], environment=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
