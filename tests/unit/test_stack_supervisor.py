"""The supervisor, on small stand-in processes: start, readiness, failure, polite and forced ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack import app, ports, records
from stack.errors import StackError
from stack.instance import Instance, instances_directory
from stack.records import Mark
from stack.service import Service
from stack.supervisor import Supervisor

READY = "print('ready', flush=True)\n"
WAIT = "import time\ntime.sleep(600)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
PARENT = "import subprocess, sys\nchild = subprocess.Popen(['sleep', '600'])\n"

Make = Callable[..., Service]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance("test", checkout=tmp_path)
    instance.create()
    yield instance
    supervisor = Supervisor(instance)
    supervisor.stop(supervisor.names())
    shutil.rmtree(instances_directory(tmp_path))


@pytest.fixture
def make(instance: Instance) -> Make:
    """Services that run a Python script and are ready once it printed so."""

    def service(name: str, script: str, **fields: Any) -> Service:
        fields.setdefault("ready", lambda: b"ready" in instance.log(name).read_bytes())
        argv = [sys.executable, "-c", script]
        return Service(name=name, argv=argv, directory=instance.home / name, stop_timeout=0.5, **fields)

    return service


def pid_of(instance: Instance, name: str) -> int:
    return records.load(instance.records)[name].main.pid


def test_up_starts_what_is_missing_and_leaves_what_runs(instance: Instance, make: Make) -> None:
    one, two = make("one", READY + WAIT), make("two", READY + WAIT)
    assert Supervisor(instance).up([one]) == ["one"]
    first = pid_of(instance, "one")
    assert Supervisor(instance).up([one, two]) == ["two"]
    assert pid_of(instance, "one") == first
    assert Supervisor(instance).up([one, two]) == []


def test_up_returns_only_when_ready(instance: Instance, make: Make) -> None:
    began = time.monotonic()
    Supervisor(instance).up([make("slow", "import time\ntime.sleep(0.5)\n" + READY + WAIT)])
    assert time.monotonic() - began >= 0.5


def test_services_start_side_by_side(instance: Instance, make: Make) -> None:
    meet = "import pathlib, time\npathlib.Path('../{0}.here').touch()\n" + (
        "while not pathlib.Path('../{1}.here').exists(): time.sleep(0.02)\n" + READY + WAIT
    )
    Supervisor(instance).up([make("a", meet.format("a", "b")), make("b", meet.format("b", "a"))])


def test_a_service_that_ends_shows_the_end_of_its_log(instance: Instance, make: Make) -> None:
    failing = make("failing", "for i in range(100): print('line', i, flush=True)\nraise SystemExit('no such setting')")
    with pytest.raises(StackError) as caught:
        Supervisor(instance).up([failing])
    head, *lines = str(caught.value).splitlines()
    assert head == f"failing ended before it was ready; {instance.log('failing')} ends with:"
    assert len(lines) == 20
    assert lines[-1] == "no such setting"
    assert records.load(instance.records) == {}


def test_a_service_that_never_serves_is_given_up(instance: Instance, make: Make) -> None:
    with pytest.raises(StackError, match=r"mute was not ready within 0\.2 s"):
        Supervisor(instance).up([make("mute", WAIT, ready_timeout=0.2)])
    assert records.load(instance.records) == {}


def test_a_program_that_is_not_there_is_named(instance: Instance) -> None:
    service = Service(name="ghost", argv=["/no/such/program"], directory=instance.home / "g", ready=lambda: True)
    with pytest.raises(StackError, match=r"ghost cannot be started: .*/no/such/program"):
        Supervisor(instance).up([service])


def test_when_one_fails_only_what_this_call_started_is_stopped(instance: Instance, make: Make) -> None:
    Supervisor(instance).up([make("before", READY + WAIT)])
    with pytest.raises(StackError, match="failing"):
        Supervisor(instance).up([make("before", ""), make("beside", READY + WAIT), make("failing", "")])
    assert list(records.load(instance.records)) == ["before"]
    assert Supervisor(instance).alive("before")


def test_a_taken_port_is_named_before_anything_starts(instance: Instance, make: Make) -> None:
    with socket.create_server((ports.HOST, 0)) as stranger:
        port = stranger.getsockname()[1]
        services = [make("fine", READY + WAIT), make("redis", READY + WAIT, ports={"redis": port})]
        with pytest.raises(StackError) as caught:
            Supervisor(instance).up(services)
    assert f"nothing was started:\n  port {port} is taken by pid {os.getpid()} " in str(caught.value)
    assert "`wipe --instance test`" in str(caught.value)
    assert not instance.log("fine").exists()


def test_the_setting_that_moves_a_port_of_dev_is_named(tmp_path: Path, make: Make) -> None:
    with socket.create_server((ports.HOST, 0)) as stranger:
        service = make("kafka", "", ports={"kafka_controller": stranger.getsockname()[1]})
        with pytest.raises(StackError, match="set STACK_KAFKA_CONTROLLER_PORT to another"):
            Supervisor(Instance(checkout=tmp_path)).check([service])


def test_what_ignores_the_polite_signal_is_killed(
    instance: Instance, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    Supervisor(instance).up([make("stubborn", STUBBORN + READY + WAIT)])
    pid = pid_of(instance, "stubborn")
    Supervisor(instance).stop(["stubborn"])
    assert not psutil.pid_exists(pid)
    assert "killed: it did not stop within 0.5 s" in capsys.readouterr().out


def test_stop_uses_the_signal_of_the_service_in_reverse_order(instance: Instance, make: Make, tmp_path: Path) -> None:
    script = (
        "import signal, sys\n"
        "def end(number, frame):\n    open('{path}', 'a').write(f'{name} {{number}}\\n')\n    sys.exit()\n"
        "signal.signal({number}, end)\n" + READY + WAIT
    )
    for name, number in (("a", signal.SIGINT), ("b", signal.SIGTERM), ("c", signal.SIGINT)):
        text = script.format(path=tmp_path / "ends", name=name, number=int(number))
        Supervisor(instance).up([make(name, text, stop_signal=number)])
    Supervisor(instance).stop(["a", "b", "c", "unknown"])
    ends = f"c {signal.SIGINT:d}\nb {signal.SIGTERM:d}\na {signal.SIGINT:d}\n"
    assert (tmp_path / "ends").read_text() == ends


def test_kill_takes_the_descendants_and_a_start_keeps_the_place_in_the_order(instance: Instance, make: Make) -> None:
    parent, other = make("parent", PARENT + READY + WAIT), make("other", READY + WAIT)
    Supervisor(instance).up([parent])
    Supervisor(instance).up([other])
    record = records.load(instance.records)["parent"]
    assert len(record.descendants) == 1
    Supervisor(instance).kill("parent")
    assert records.living([record.main, *record.descendants]) == []
    with pytest.raises(StackError, match="parent of instance 'test' does not run"):
        Supervisor(instance).kill("parent")
    Supervisor(instance).up([parent])
    assert list(records.load(instance.records)) == ["parent", "other"]


def test_descendants_that_outlive_their_parent_are_ended_before_a_new_start(instance: Instance, make: Make) -> None:
    service = make("parent", PARENT + READY + WAIT)
    Supervisor(instance).up([service])
    record = records.load(instance.records)["parent"]
    os.kill(record.main.pid, signal.SIGKILL)
    psutil.Process(record.main.pid).wait()
    (orphan,) = records.living(record.descendants)
    Supervisor(instance).up([service])
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert Supervisor(instance).alive("parent")


def test_a_stranger_with_a_recorded_pid_is_never_signalled(instance: Instance, make: Make) -> None:
    Supervisor(instance).up([make("one", READY + WAIT)])
    record = records.load(instance.records)["one"]
    stranger = Mark(os.getpid(), record.main.created - 3600)
    records.save(instance.records, {"one": records.Record(main=stranger, stop_signal=signal.SIGKILL, stop_timeout=1)})
    assert not Supervisor(instance).alive("one")
    Supervisor(instance).stop(["one"])  # would be the end of this very process
    assert records.load(instance.records) == {}
    os.kill(record.main.pid, signal.SIGKILL)


def test_the_log_of_the_start_before_is_kept(instance: Instance, make: Make) -> None:
    for text in ("first", "second"):
        Supervisor(instance).up([make("one", f"print('{text}')\n" + READY + WAIT)])
        Supervisor(instance).kill("one")
    log = instance.log("one")
    assert log.read_text() == "second\nready\n"
    assert log.with_suffix(".log.1").read_text() == "first\nready\n"


def test_only_what_is_given_reaches_the_environment(instance: Instance, make: Make) -> None:
    script = "import os\nprint(sorted(os.environ), os.getcwd())\n" + READY + WAIT
    Supervisor(instance).up([make("one", script, environment={"LC_ALL": "C.UTF-8", "A": "1"})])
    assert instance.log("one").read_text().splitlines()[0] == f"['A', 'LC_ALL'] {instance.home / 'one'}"


def test_the_application_has_a_bridge_and_workers_of_their_own(instance: Instance) -> None:
    bridge, *workers = app.services(instance, 2)
    web = instance.ports()["web"]
    assert bridge.name == "bridge"
    assert bridge.environment["STREAMAPP_REDIS_URL"] == instance.urls()["STREAMAPP_REDIS_URL"]
    assert [(worker.name, worker.port) for worker in workers] == [("worker-0", web), ("worker-1", web + 1)]
    assert len({worker.environment["STREAMAPP_DATADIR"] for worker in workers}) == 2
    for service in (bridge, *workers):
        again = app.service(instance, service.name)
        assert again is not None
        assert (again.argv, again.ports, again.environment) == (service.argv, service.ports, service.environment)
    assert [app.service(instance, name) for name in ("worker", "worker-", "worker-x", "redis")] == [None] * 4
