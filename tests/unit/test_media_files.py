"""Files kept on disk: within the size, whole or not at all, and never in the way."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamapp.media.files import DIGEST_BYTES, DRAFT, DRAFT_SECONDS, Files

MAX = 100_000
URL = "https://cdn.example/a.jpg?key=secret"

WRITER = """
import sys
from pathlib import Path
from streamapp.media.files import Files
files = Files(Path(sys.argv[1]), max_bytes=int(sys.argv[2]))
for n in range(300):
    files.put(f"{sys.argv[3]}{n}", "1", bytes([n % 256]) * 3000)
    found = files.get(f"{sys.argv[3]}{n - 3}", "1")
    assert found in (None, bytes([(n - 3) % 256]) * 3000)
assert not files.troubles["damaged"] and not files.troubles["read"], files.troubles
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def files(folder: Path) -> Files:
    return Files(folder, max_bytes=MAX)


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@contextmanager
def disk_full() -> Iterator[None]:
    """No file of this process can be written beyond 1000 bytes: the same error path as that of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_gives_back_what_was_put(files: Files) -> None:
    assert files.get(URL, "1") is None
    files.put(URL, "1", b"one")
    files.put(URL, "2", b"two")
    assert files.get(URL, "1") == b"one"
    assert files.get(URL, "2") == b"two"
    files.put(URL, "1", b"")
    assert files.get(URL, "1") == b""
    assert not files.troubles


def test_another_process_finds_it(files: Files, folder: Path) -> None:
    files.put(URL, "1", b"one")
    assert Files(folder, max_bytes=MAX).get(URL, "1") == b"one"


def test_names_tell_nothing_and_leave_the_folder_never(files: Files, folder: Path) -> None:
    for n, url in enumerate(["../../etc/passwd", "/etc/passwd", "a\0b", "", "\udcff", "x" * 10_000, URL]):
        files.put(url, "../1", bytes([n]))
        assert files.get(url, "../1") == bytes([n])
    names = [path.name for path in folder.iterdir()]
    assert len(names) == 7
    assert all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in names)
    assert os.listdir(folder.parent) == ["images"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_url_and_generation_are_not_mixed_up(files: Files) -> None:
    files.put("a b", "c", b"1")
    assert files.get("a", "b c") is None
    assert files.get("a b c", "") is None


def test_the_oldest_go_first(files: Files, folder: Path) -> None:
    for n in range(30):
        files.put(f"{n}", "1", bytes(10_000))
        path = next(path for path in folder.iterdir() if path.stat().st_mtime > 1_000_000)
        os.utime(path, (n, n))  # clocks of file systems are coarse
        assert sizes(folder) <= MAX
    kept = [n for n in range(30) if files.get(f"{n}", "1") is not None]
    assert kept == list(range(kept[0], 30))
    assert len(kept) >= 7


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, MAX), min_size=1, max_size=40))
def test_never_more_than_the_size(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    folder = tmp_path_factory.mktemp("kept")
    files = Files(folder, max_bytes=MAX)
    for n, length in enumerate(lengths):
        files.put(str(n), "1", bytes(length))
        assert sizes(folder) <= MAX
        assert (files.get(str(n), "1") is not None) == (DIGEST_BYTES + length <= MAX // 2)


def test_what_an_earlier_run_left_counts_too(files: Files, folder: Path) -> None:
    for n in range(8):
        files.put(f"{n}", "1", bytes(10_000))
    small = Files(folder, max_bytes=50_000)
    small.put("new", "1", bytes(10_000))
    assert sizes(folder) <= 50_000
    assert small.get("new", "1") == bytes(10_000)


@pytest.mark.parametrize("damage", ["flipped", "short", "no digest", "empty", "longer"])
def test_a_damaged_file_is_not_there_and_is_removed(files: Files, folder: Path, damage: str) -> None:
    files.put(URL, "1", b"picture" * 100)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    middle = bytes([content[300] ^ 1])
    path.write_bytes(
        {
            "flipped": content[:300] + middle + content[301:],
            "short": content[:-1],
            "no digest": content[:10],
            "empty": b"",
            "longer": content + b"x",
        }[damage]
    )
    assert files.get(URL, "1") is None
    assert not list(folder.iterdir())
    assert files.troubles == {"damaged": 1}
    files.put(URL, "1", b"again")
    assert files.get(URL, "1") == b"again"


def test_a_full_disk_is_counted_and_said_once(files: Files, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    files.put("before", "1", b"x")
    with disk_full():
        for n in range(3):
            files.put(f"{n}", "1", bytes(5000))
            assert files.get(f"{n}", "1") is None
    assert files.troubles == {"write": 3}
    assert len(caplog.records) == 1
    assert "write" in caplog.text
    assert len(list(folder.iterdir())) == 1  # no drafts
    assert files.get("before", "1") == b"x"
    files.put("after", "1", bytes(5000))
    assert files.get("after", "1") == bytes(5000)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("I am in the way")
    files = Files(tmp_path / "images", max_bytes=MAX)
    files.put(URL, "1", b"one")
    assert files.get(URL, "1") is None
    assert files.troubles == {"write": 1, "read": 1}


def test_a_folder_removed_meanwhile_is_made_again(files: Files, folder: Path) -> None:
    files.put(URL, "1", b"one")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert files.get(URL, "1") is None
    files.put(URL, "1", b"one")
    assert files.get(URL, "1") == b"one"


def test_the_draft_of_a_killed_process_goes_after_an_hour(folder: Path) -> None:
    folder.mkdir()
    old, new = folder / f"a-1-1{DRAFT}", folder / f"b-1-1{DRAFT}"
    for path in (old, new):
        path.write_bytes(bytes(100))
    past = old.stat().st_mtime - DRAFT_SECONDS - 1
    os.utime(old, (past, past))
    Files(folder, max_bytes=MAX).put(URL, "1", b"one")
    assert not old.exists()
    assert new.exists()


def test_what_is_no_file_is_left_alone(folder: Path) -> None:
    """A folder that somebody made, one that looks like an old draft, a link to another one."""
    stray, draft, link = folder / "stray", folder / f"a-1-1{DRAFT}", folder / "link"
    for path in (stray, draft):
        path.mkdir(parents=True)
        os.utime(path, (1, 1))  # older than all files
    link.symlink_to(folder.parent)
    files = Files(folder, max_bytes=MAX)
    for n in range(30):
        files.put(f"{n}", "1", bytes(10_000))
        assert files.get(f"{n}", "1") is not None
    assert not files.troubles
    assert stray.is_dir()
    assert draft.is_dir()
    assert link.is_symlink()
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) <= MAX


def test_threads(files: Files, folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: files.put(f"{n % 20}", "1", bytes([n % 20]) * 4000), range(400)))
    assert not files.troubles
    assert sizes(folder) <= MAX
    assert all(files.get(f"{n}", "1") in (None, bytes([n]) * 4000) for n in range(20))


def test_processes_on_one_folder_do_each_other_no_harm(folder: Path) -> None:
    """Three that write, drop each other's files and the same ones at once."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(MAX), name], stderr=subprocess.PIPE)
        for name in ("a", "a", "b")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    assert sizes(folder) <= MAX * 1.2
    assert not list(folder.glob(f"*{DRAFT}"))
