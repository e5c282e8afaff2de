"""What a worker says when it cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def start(directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A worker in an empty directory; none of its servers is there."""
    environment = os.environ | {
        "STREAMAPP_ENV_FILE": os.devnull,
        "STREAMAPP_KAFKA_URL": "kafka://127.0.0.1:9",
        **{f"STREAMAPP_{name.upper()}": value for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "faust", "-A", "streamapp", "worker", "-l", "info", "--without-web"]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("made", "missing"),
    [((), "clip/open_clip_model.safetensors"), (("clip/open_clip_model.safetensors",), "open_clip_config.json")],
)
def test_missing_weights_are_one_line_with_the_file_and_the_command(
    tmp_path: Path, made: tuple[str, ...], missing: str
) -> None:
    for name in made:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"not weights")
    ended = start(tmp_path, engine="models", models_dir=str(tmp_path))
    assert ended.returncode == 1
    last = (ended.stdout + ended.stderr).rstrip().splitlines()[-1]
    assert last.startswith(f"streamapp: {tmp_path}")
    assert missing in last
    assert "`streamapp models pull clip`" in last
    assert "Traceback" not in ended.stdout + ended.stderr
    assert (tmp_path / ".stack" / "worker").is_dir()  # the data directory's parents are made
