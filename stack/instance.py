"""An instance of the stack: a name, a directory and a set of ports; two instances never share any of them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack import dotenv, ports
from stack.errors import StackError

CHECKOUT = Path(__file__).resolve().parents[1]
DEV = "dev"
# The servers are reachable from this machine only and hold what development and tests put there.
POSTGRES_USER = POSTGRES_PASSWORD = "app"
POSTGRES_DATABASE = "streamapp"


def instances_directory(checkout: Path = CHECKOUT) -> Path:
    """Where this checkout's instances live.

    Root's servers run as another user, who may not be able to reach the checkout: theirs is under /var/lib,
    told apart by a hash of the checkout's path.
    """
    if os.geteuid() != 0:
        return checkout / ".stack"
    return Path("/var/lib/streamapp") / hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]


class Instance:
    """One set of servers. Raises StackError for a name that is not lower-case letters, digits and dashes."""

    def __init__(self, name: str = DEV, *, checkout: Path = CHECKOUT) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
            raise StackError(f"{name!r} is no instance name: use lower-case letters, digits and dashes")
        self.name = name
        self.checkout = checkout
        self.home = instances_directory(checkout) / name
        self.records = self.home / "state.json"
        self.logs = self.home / "logs"
        self._ports = self.home / "ports.json"

    def create(self) -> None:
        """Make the directories, open to the servers' account whatever the caller's umask is."""
        self.logs.mkdir(parents=True, exist_ok=True)
        base = self.home.parent
        for directory in (base.parent, base, self.home) if os.geteuid() == 0 else (self.home,):
            directory.chmod(0o755)
        (base / "checkout").write_text(f"{self.checkout}\n")

    def log(self, name: str) -> Path:
        """Where a service of this instance writes what it prints."""
        return self.logs / f"{name}.log"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one command at a time change this instance; another waits."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with (self.home.parent / f"{self.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def ports(self) -> dict[str, int]:
        """Port by role, as the last start remembered; where there was none yet, as a start would now."""
        return self.settle_ports(running=True)

    def settle_ports(self, *, running: bool) -> dict[str, int]:
        """Decide the ports for a start and remember them.

        `dev` follows its settings each time, unless something of it runs: then its ports stay. The others
        keep what they chose first.
        """
        remembered = _read(self._ports)
        if remembered is not None and (running or self.name != DEV):
            return remembered
        if self.name == DEV:
            chosen = ports.fixed(os.environ)
        else:
            siblings = self.home.parent.glob("*/ports.json")
            taken = {port for file in siblings for port in (_read(file) or {}).values()}
            chosen = ports.choose(taken, ports.is_free)
        self.create()
        self._ports.write_text(json.dumps(chosen, indent=1) + "\n")
        return chosen

    def urls(self) -> dict[str, str]:
        """Where clients find the four servers, by the name of streamapp's setting."""
        port, host = self.ports(), ports.HOST
        login = f"{POSTGRES_USER}:{POSTGRES_PASSWORD}"
        return {
            "STREAMAPP_REDIS_URL": f"redis://{host}:{port['redis']}/0",
            "STREAMAPP_KAFKA_URL": f"kafka://{host}:{port['kafka']}",
            "STREAMAPP_POSTGRES_URL": f"postgresql://{login}@{host}:{port['postgres']}/{POSTGRES_DATABASE}",
            "STREAMAPP_ELASTICSEARCH_URL": f"http://{host}:{port['elasticsearch']}",
        }

    def environment(self) -> dict[str, str]:
        """The URLs, and the web port of the first worker."""
        return self.urls() | {"STREAMAPP_WEB_PORT": str(self.ports()["web"])}

    def write_dotenv(self) -> None:
        """Put the environment into the checkout's `.env`; what else stands there stays."""
        dotenv.update(self.checkout / ".env", self.environment())


def _read(path: Path) -> dict[str, int] | None:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StackError(f"{path} is damaged ({error}); `wipe` of its instance chooses new ports") from error
    # A file of an older version may lack a role; the missing ports are then chosen anew with the others.
    return {role: int(content[role]) for role in ports.DEFAULTS} if ports.DEFAULTS.keys() <= content.keys() else None
