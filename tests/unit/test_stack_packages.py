"""Programs of the operating system: found, installed, or named in a message that says what to install."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.packages import cannot_install, program, redis_major, redis_server
from stack.process import run, tail

REDIS = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0"


@pytest.fixture
def bin_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but a shell's own tools and what the test puts there."""
    for tool in ("sh", "chmod", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_program_on_path_is_taken(bin_directory: Path) -> None:
    script(bin_directory / "mvn", "")
    assert program("mvn", package="maven") == bin_directory / "mvn"


def test_without_apt_the_message_names_what_to_install(bin_directory: Path) -> None:
    with pytest.raises(StackError, match=r"mvn is not on PATH and this system has no apt.*apt install maven"):
        program("mvn", package="maven")


def test_only_root_installs() -> None:
    assert cannot_install(1000, "/usr/bin/apt-get") == "only root can install it"
    assert cannot_install(0, "/usr/bin/apt-get") is None


def test_apt_installs_after_an_update_when_its_lists_are_missing(
    bin_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    here = bin_directory
    script(
        here / "apt-get",
        f"""echo "$@" "$DEBIAN_FRONTEND" >> {here}/calls
[ "$1" = update ] && echo > {here}/lists && exit 0
[ -e {here}/lists ] || exit 100
echo > {here}/mvn; chmod 755 {here}/mvn""",
    )
    assert program("mvn", package="maven") == here / "mvn"
    install = "install -y --no-install-recommends maven noninteractive"
    assert (here / "calls").read_text().splitlines() == [install, "update noninteractive", install]
    assert capsys.readouterr().out.startswith("maven         installing with apt … ")


def test_when_apt_fails_what_it_printed_is_shown(bin_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    script(bin_directory / "apt-get", "echo no such package >&2; exit 100")
    with pytest.raises(StackError, match="apt-get failed with code 100:\nno such package"):
        program("mvn", package="maven")


def test_redis_must_be_new_enough(bin_directory: Path) -> None:
    script(bin_directory / "redis-server", f"echo '{REDIS}'")
    assert redis_server() == bin_directory / "redis-server"
    script(bin_directory / "redis-server", "echo 'Redis server v=6.0.16 sha=0'")
    with pytest.raises(StackError, match="is Redis 6; version 7 or later"):
        redis_server()


def test_the_version_of_redis_is_read() -> None:
    assert redis_major(REDIS) == 7
    assert redis_major("Redis server v=10.2.1") == 10
    with pytest.raises(StackError, match="printed 'nonsense'"):
        redis_major("nonsense")


def test_a_failing_program_shows_its_last_lines() -> None:
    with pytest.raises(StackError) as caught:
        run(["sh", "-c", "seq 100; echo oops >&2; exit 3"], what="counting")
    lines = str(caught.value).splitlines()
    assert lines[0] == "counting failed with code 3:"
    assert lines[1:] == [*map(str, range(82, 101)), "oops"]


def test_a_program_reads_its_script_and_its_output_comes_back() -> None:
    assert run(["cat"], script="héllo\n") == "héllo\n"


def test_the_tail_of_a_short_text_is_the_text() -> None:
    assert tail("a\nb", 5) == "a\nb"
