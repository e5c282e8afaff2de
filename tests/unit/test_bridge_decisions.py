"""Placement, waiting, counts, settings: what the bridge decides without a server."""

import asyncio
import logging
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.counts import line, report
from bridge.placement import NOTHING, Placement, place
from bridge.settings import Settings
from bridge.trouble import LONGEST_WAIT, Trouble, pause

OFFSETS = st.integers(0, 30)


def test_a_partition_goes_on_after_its_checkpoint() -> None:
    assert place(checkpoint=4, beginning=0, end=10) == Placement(5, 4)
    assert place(checkpoint=9, beginning=0, end=10) == Placement(10, 9)


def test_a_new_partition_starts_at_its_beginning() -> None:
    assert place(checkpoint=NOTHING, beginning=3, end=10) == Placement(3, NOTHING)
    assert place(checkpoint=NOTHING, beginning=0, end=0) == Placement(0, NOTHING)


def test_records_that_expired_are_named() -> None:
    placement = place(checkpoint=4, beginning=8, end=10)
    assert placement[:2] == (8, 4)
    assert "records 5 to 7 expired" in placement.problem


def test_a_log_that_ends_before_the_checkpoint_takes_it_back() -> None:
    placement = place(checkpoint=9, beginning=0, end=3)
    assert placement[:2] == (3, 2)
    assert "lost its records 3 to 9" in placement.problem


@given(st.integers(NOTHING, 30), OFFSETS, OFFSETS)
def test_placing_leaves_out_no_record_and_lets_the_next_one_pass(checkpoint: int, one: int, other: int) -> None:
    beginning, end = sorted((one, other))
    position, counted, problem = place(checkpoint=checkpoint, beginning=beginning, end=end)
    assert beginning <= position <= end or checkpoint >= end
    assert counted < position, "the next record is beyond the checkpoint, so the script delivers it"
    undelivered = set(range(beginning, end)) - set(range(checkpoint + 1))
    assert set(range(position, end)) == undelivered
    assert bool(problem) == (checkpoint >= end or NOTHING < checkpoint < beginning - 1)


def test_trouble_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counts: Counter[str] = Counter()
    trouble = Trouble(activity="inbound x", counts=counts)
    trouble.recovered()
    waits = [trouble.failed(OSError("away")) for _ in range(10)]
    trouble.failed(TimeoutError("slow"))
    trouble.failed(OSError("away"))
    trouble.recovered()
    trouble.recovered()
    assert waits == sorted(waits)
    assert waits[0] < 0.2
    assert waits[-1] == LONGEST_WAIT
    assert counts == {"retries": 12}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert "away" in said[0]
    assert "slow" in said[1]
    assert said[2] == "inbound x: works again"
    assert trouble.failed(OSError()) == waits[0], "the next trouble starts with a short wait again"


async def test_a_pause_ends_with_the_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    start = time.monotonic()
    await pause(stop, 30)
    assert time.monotonic() - start < 5
    assert stop.is_set()


async def test_a_pause_ends_by_itself() -> None:
    await pause(asyncio.Event(), 0.01)


def test_the_line_of_counts_has_the_usual_ones_always() -> None:
    assert line(Counter()) == "dead_letters=0 in=0 out=0 retries=0 seen=0 skipped=0"
    assert "claimed=2" in line(Counter(claimed=2))


async def test_counts_are_reported_only_when_they_changed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counts: Counter[str] = Counter()
    stop = asyncio.Event()
    task = asyncio.create_task(report(counts, stop, period=0.02))
    await asyncio.sleep(0.1)
    assert not caplog.records
    counts["in"] = 5
    await asyncio.sleep(0.1)
    stop.set()
    await task
    assert [record.getMessage() for record in caplog.records] == [
        "counts dead_letters=0 in=5 out=0 retries=0 seen=0 skipped=0"
    ]


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_KAFKA_URL", "kafka://one:9092;two:9093")
    monkeypatch.setenv("STREAMAPP_BRIDGE_NAME", "b2")
    settings = Settings(_env_file=None)
    assert settings.bootstrap_servers == ["one:9092", "two:9093"]
    assert settings.bridge_name == "b2"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("url", ["", "localhost:9092", "http://a:1", "kafka://", "kafka://a", "kafka://a:1;b"])
def test_a_wrong_kafka_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="kafka://host:port"):
        Settings(_env_file=None, kafka_url=url)


def test_a_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    env = {"STREAMAPP_PARTITIONS": "many", "STREAMAPP_KAFKA_URL": "x", "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-m", "bridge"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith("STREAMAPP_KAFKA_URL: ")
    assert "STREAMAPP_PARTITIONS: " in done.stderr
