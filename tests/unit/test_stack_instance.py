"""Instances: a name, a directory and ports that no other instance has."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import ports
from stack.errors import StackError
from stack.instance import Instance, instances_directory


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(instances_directory(tmp_path), ignore_errors=True)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ports.DEFAULTS:
        monkeypatch.delenv(ports.setting(role), raising=False)


@pytest.mark.parametrize("name", ["", "Test", "../x", "a/b", "-a", "a b", "x" * 32, "test\n"])
def test_a_name_that_could_leave_its_directory_is_refused(name: str) -> None:
    with pytest.raises(StackError, match="is no instance name"):
        Instance(name)


def test_two_checkouts_and_two_instances_have_directories_of_their_own(tmp_path: Path) -> None:
    homes = {Instance(name, checkout=tmp_path / place).home for name in ("dev", "test") for place in ("a", "b")}
    assert len(homes) == 4


def test_dev_is_where_the_settings_say(checkout: Path) -> None:
    assert Instance(checkout=checkout).urls() == {
        "STREAMAPP_REDIS_URL": "redis://127.0.0.1:36379/0",
        "STREAMAPP_KAFKA_URL": "kafka://127.0.0.1:39092",
        "STREAMAPP_POSTGRES_URL": "postgresql://app:app@127.0.0.1:35432/streamapp",
        "STREAMAPP_ELASTICSEARCH_URL": "http://127.0.0.1:39200",
    }


def test_dev_moves_with_its_settings_but_not_while_it_runs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dev = Instance(checkout=checkout)
    dev.settle_ports(running=False)
    monkeypatch.setenv("STACK_REDIS_PORT", "1234")
    assert dev.settle_ports(running=True)["redis"] == 36379
    assert dev.settle_ports(running=False)["redis"] == 1234
    assert dev.ports()["redis"] == 1234


def test_another_instance_keeps_what_it_chose(checkout: Path) -> None:
    chosen = Instance("test", checkout=checkout).ports()
    with socket.create_server((ports.HOST, chosen["redis"])):
        assert Instance("test", checkout=checkout).settle_ports(running=False) == chosen


def test_two_instances_never_share_a_port(checkout: Path) -> None:
    taken = [port for index in range(20) for port in Instance(f"t{index}", checkout=checkout).ports().values()]
    assert len(taken) == len(set(taken))


def test_a_damaged_choice_is_named(checkout: Path) -> None:
    instance = Instance("test", checkout=checkout)
    instance.ports()
    (instance.home / "ports.json").write_text("{")
    with pytest.raises(StackError, match=r"ports\.json is damaged"):
        instance.ports()


def test_the_servers_account_reaches_the_directory_whatever_the_umask(checkout: Path) -> None:
    old = os.umask(0o077)
    try:
        instance = Instance("test", checkout=checkout)
        instance.create()
    finally:
        os.umask(old)
    assert stat.S_IMODE(instance.home.stat().st_mode) == 0o755
    assert (instance.home.parent / "checkout").read_text() == f"{checkout}\n"


def test_one_command_at_a_time(checkout: Path) -> None:
    instance = Instance("test", checkout=checkout)
    with instance.lock():
        child = os.fork()
        if child == 0:  # another command: it must wait, so the alarm ends it
            import signal

            signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with Instance("test", checkout=checkout).lock():
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_dotenv_gets_the_urls_and_the_web_port(checkout: Path) -> None:
    instance = Instance(checkout=checkout)
    instance.write_dotenv()
    lines = (checkout / ".env").read_text().splitlines()
    assert lines == [f"{key}={value}" for key, value in instance.environment().items()]
    assert "STREAMAPP_WEB_PORT=36066" in lines
