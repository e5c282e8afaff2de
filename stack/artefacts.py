"""Kafka's jars and the Elasticsearch server: resolved with Maven, checked against `artefacts.lock`."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from stack.cache import cached
from stack.errors import StackError
from stack.packages import program
from stack.process import run
from stack.progress import step

KAFKA = "4.1.1"  # the version of kafka_2.13 in pom.xml
ELASTICSEARCH = "9.2.4"
# The server as Elastic publishes it for the tests of plugin authors: without a Java runtime of its own.
ELASTICSEARCH_ARTEFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{ELASTICSEARCH}:zip"

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
LOCK = HERE / "artefacts.lock"


def kafka_jars() -> Path:
    """The directory of the jars of a Kafka server, flat."""
    return cached(f"kafka-{KAFKA}-{lock_version()}", _resolve_kafka)


def elasticsearch_home() -> Path:
    """The directory of the unpacked Elasticsearch server."""
    return cached(f"elasticsearch-{ELASTICSEARCH}-{lock_version()}", _resolve_elasticsearch)


@cache
def lock_version() -> str:
    """Tells apart what was resolved under one lock file from what was under another."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()[:8]


def read_lock(text: str, suffix: str) -> dict[str, str]:
    """SHA-256 in hexadecimal by file name, of those files whose name ends so."""
    pairs = (line.split("  ", 1) for line in text.splitlines())
    return {name: digest for digest, name in pairs if name.endswith(suffix)}


def verify(directory: Path, expected: Mapping[str, str]) -> None:
    """Check that the directory holds exactly these files. Raises StackError naming each that differs."""
    actual = {path.name: _sha256(path) for path in directory.iterdir()}
    wrong = [
        f"{name}: {_difference(expected.get(name), actual.get(name))}"
        for name in sorted(expected.keys() | actual.keys())
        if expected.get(name) != actual.get(name)
    ]
    if wrong:
        raise StackError("what Maven resolved differs from artefacts.lock:\n" + "\n".join(wrong))


def _difference(expected: str | None, actual: str | None) -> str:
    if expected is None:
        return "not in the lock"
    return "missing" if actual is None else f"sha256 is {actual}, not {expected}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resolve_kafka(directory: Path) -> None:
    expected = read_lock(LOCK.read_text(), ".jar")
    maven = program("mvn", package="maven")
    with step("kafka", f"resolving {len(expected)} jars"):
        _maven(maven, "copy-dependencies", directory)
        verify(directory, expected)


def _resolve_elasticsearch(directory: Path) -> None:
    expected = read_lock(LOCK.read_text(), ".zip")
    maven = program("mvn", package="maven")
    with step("elasticsearch", "resolving the server"):
        _maven(maven, "copy", directory, f"-Dartifact={ELASTICSEARCH_ARTEFACT}")
        verify(directory, expected)
    with step("elasticsearch", "unpacking"):
        (archive,) = directory.iterdir()
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(directory)
        archive.unlink()
        # The zip holds one directory, elasticsearch-<version>: its content is what we want.
        (top,) = directory.iterdir()
        for path in top.iterdir():
            path.rename(directory / path.name)
        top.rmdir()


def _maven(maven: Path, goal: str, output: Path, *options: str) -> None:
    run(
        [maven, "-q", "-B", "-f", POM, f"dependency:{goal}", f"-DoutputDirectory={output}", *options],
        what=f"maven's dependency:{goal}",
    )
