"""Records: a process is known by pid and creation time, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack import records
from stack.errors import StackError
from stack.records import Mark, Record

marks = st.builds(Mark, pid=st.integers(1, 2**22), created=st.floats(0, 4e9))
some_records = st.dictionaries(
    st.text(min_size=1),
    st.builds(
        Record,
        main=marks,
        descendants=st.lists(marks).map(tuple),
        port=st.none() | st.integers(1, 65535),
        stop_signal=st.just(int(signal.SIGTERM)),
        stop_timeout=st.floats(0, 100),
    ),
)


def test_a_mark_finds_its_process() -> None:
    process = Mark.of(os.getpid()).process()
    assert process is not None
    assert process.pid == os.getpid()


@pytest.mark.parametrize("seconds", [-10.0, 10.0])
def test_a_recycled_pid_is_a_stranger(seconds: float) -> None:
    own = Mark.of(os.getpid())
    assert Mark(own.pid, own.created + seconds).process() is None


def test_a_process_that_ended_is_gone_even_while_nobody_collects_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        mark = Mark.of(child.pid)
        assert mark.process() is not None
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert mark.process() is None
    assert mark.process() is None
    assert records.family(mark) == ()


def test_the_family_of_a_process_is_its_descendants() -> None:
    script = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        mark = Mark.of(parent.pid)
        while not (family := records.family(mark)):
            assert parent.poll() is None
        assert len(records.living(family)) == 1
        parent.kill()
        for orphan in records.living(family):
            orphan.kill()


@given(content=some_records)
def test_what_is_saved_is_loaded_in_the_same_order(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Record]
) -> None:
    path = tmp_path_factory.mktemp("records") / "state.json"
    records.save(path, content)
    assert list(records.load(path).items()) == list(content.items())
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert records.load(tmp_path / "state.json") == {}


@pytest.mark.parametrize("text", ["", "[]", '{"redis": {"main": {"pid": 1}}}', '{"redis": {"mai'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "state.json").write_text(text)
    with pytest.raises(StackError, match=r"state\.json is damaged"):
        records.load(path)
