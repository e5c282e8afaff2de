"""Artefacts: what Maven resolves is exactly what the lock file says, and appears whole or not at all."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from stack import artefacts
from stack.cache import cached
from stack.errors import StackError


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_lock_has_a_checksum_for_every_file() -> None:
    lines = artefacts.LOCK.read_text().splitlines()
    assert all(len(line.split("  ")[0]) == 64 for line in lines)
    files = artefacts.read_lock(artefacts.LOCK.read_text(), "")
    assert len(files) == len(lines)
    assert f"kafka_2.13-{artefacts.KAFKA}.jar" in files
    assert [name for name in files if name.endswith(".zip")] == [f"elasticsearch-{artefacts.ELASTICSEARCH}.zip"]
    assert len(artefacts.read_lock(artefacts.LOCK.read_text(), ".jar")) == len(files) - 1


def test_the_pom_and_the_code_name_the_same_kafka() -> None:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    pom = ElementTree.parse(artefacts.POM)
    versions = {
        dependency.findtext("m:artifactId", namespaces=space): dependency.findtext("m:version", namespaces=space)
        for dependency in pom.iterfind(".//m:dependency", space)
    }
    assert versions["kafka_2.13"] == artefacts.KAFKA


def test_what_is_as_locked_passes(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    artefacts.verify(tmp_path, {"a.jar": digest(b"a")})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jar": b"other"}, f"a.jar: sha256 is {digest(b'other')}, not {digest(b'a')}"),
        ({}, "a.jar: missing"),
        ({"a.jar": b"a", "b.jar": b"b"}, "b.jar: not in the lock"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StackError) as caught:
        artefacts.verify(tmp_path, {"a.jar": digest(b"a")})
    assert str(caught.value).splitlines()[1:] == [message]


def test_the_cache_is_filled_once(tmp_path: Path) -> None:
    filled = []

    def fill(directory: Path) -> None:
        filled.append(directory)
        (directory / "file").write_text("x")
        (directory / "file").chmod(0o600)

    for _ in range(2):
        assert (cached("thing-1", fill, cache=tmp_path) / "file").read_text() == "x"
    assert len(filled) == 1
    assert (tmp_path / "thing-1/file").stat().st_mode & 0o777 == 0o644


def test_what_could_not_be_filled_is_not_in_the_cache(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("x")
        raise StackError("no network")

    with pytest.raises(StackError, match="no network"):
        cached("thing-1", fail, cache=tmp_path)
    assert not (tmp_path / "thing-1").exists()
    whole = cached("thing-1", lambda directory: (directory / "whole").touch(), cache=tmp_path)
    assert [path.name for path in whole.iterdir()] == ["whole"]
