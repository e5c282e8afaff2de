"""What the servers are told: configuration as files and arguments."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stack import elasticsearch, kafka, postgres
from stack.account import can_execute, let_everyone_read, owned_directory, public_file, server_account
from stack.errors import StackError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its privileges up")


def test_kafka_listens_on_loopback_only_and_takes_messages_of_eight_mebibytes() -> None:
    lines = kafka.server_properties(Path("/d"), port=1, controller=2).splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1"
    assert int(properties["message.max.bytes"]) > 8 * 1024 * 1024
    assert int(properties["replica.fetch.max.bytes"]) >= int(properties["message.max.bytes"])
    assert properties["auto.create.topics.enable"] == "false"
    assert properties["log.dirs"] == "/d/data"


def test_a_cluster_id_is_what_kafka_takes() -> None:
    ids = {kafka.cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert not any(text.startswith("-") for text in ids)
    assert all(len(base64.urlsafe_b64decode(text + "==")) == 16 for text in ids)


@pytest.mark.parametrize("directory", ["/d", "/with space/and: colon", "/ünï"])
def test_elasticsearch_settings_are_yaml(directory: str) -> None:
    settings = yaml.safe_load(elasticsearch.settings(Path(directory), http=1, transport=2))
    assert settings["path.data"] == f"{directory}/data"
    assert (settings["http.port"], settings["transport.port"], settings["network.host"]) == (1, 2, "127.0.0.1")
    assert settings["xpack.security.enabled"] is False


def test_the_jvm_is_not_told_of_modules_that_a_reduced_runtime_lacks() -> None:
    options = elasticsearch.jvm_options(Path("/d")).splitlines()
    assert "-Djava.io.tmpdir=/d/tmp" in options
    assert not any("add-modules" in option for option in options)


def test_the_launcher_is_given_no_path_that_its_script_would_split() -> None:
    assert elasticsearch.launcher_options(Path("/d")) == "-Djava.io.tmpdir=/d/tmp"
    assert elasticsearch.launcher_options(Path("/d e")) == ""


def test_a_public_file_is_readable_and_never_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "file").symlink_to(victim)
    public_file(tmp_path / "file", "new")
    assert victim.read_text() == "untouched"
    assert (tmp_path / "file").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_tree_becomes_readable_and_programs_stay_programs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    for name, mode in (("run", 0o700), ("text", 0o600)):
        (tree / "bin" / name).touch()
        (tree / "bin" / name).chmod(mode)
    (tree / "link").symlink_to("/nowhere")
    (tree / "bin").chmod(0o700)
    let_everyone_read(tree)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tree / "bin", *(tree / "bin").iterdir())}
    assert modes == {"bin": 0o755, "run": 0o755, "text": 0o644}


@as_root
def test_an_unknown_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_USER", "no-such-user")
    with pytest.raises(StackError, match=r"no user 'no-such-user'.*STACK_USER"):
        server_account()


@as_root
def test_what_the_account_cannot_reach_is_found_out(tmp_path: Path) -> None:
    account = server_account()
    assert account is not None
    assert can_execute(Path("/bin/sh"), account)
    program = tmp_path / "program"
    program.touch()
    program.chmod(0o755)
    tmp_path.chmod(0o700)
    assert not can_execute(program, account)
    owned = owned_directory(tmp_path / "owned", account)
    assert (owned.stat().st_uid, stat.S_IMODE(owned.stat().st_mode)) == (account.uid, 0o700)


def test_the_pid_file_of_a_zombie_is_forgotten_and_that_of_a_process_stays(tmp_path: Path) -> None:
    pid_file = tmp_path / "postmaster.pid"
    postgres.forget_zombie(pid_file)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        pid_file.write_text(f"{child.pid}\n/data\n")
        postgres.forget_zombie(pid_file)
        assert pid_file.exists()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        postgres.forget_zombie(pid_file)
        assert not pid_file.exists()
    pid_file.write_text(f"{child.pid}\n/data\n")
    postgres.forget_zombie(pid_file)
    assert pid_file.exists()
