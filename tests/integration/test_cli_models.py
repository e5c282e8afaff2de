"""`streamapp models` as processes: what is printed, exit codes, kill -9, two at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from imitated_hub import ImitatedHub, imitated_hub, until

from streamapp.engines.weights import MODELS, Hub, find

pytest.importorskip("torch")

FACES = bytes(range(256)) * 1000
WEIGHTS = {"clip": b"clip" * 100_000, "blip": b"blip" * 100_000, "facenet": FACES}


@pytest.fixture
def hub() -> Iterator[ImitatedHub]:
    with imitated_hub() as hub:
        for name, model in MODELS.items():
            if isinstance(model.source, Hub):
                hub.files[model.source.repo] = {group[0]: group[0].encode() for group in model.needed}
                hub.files[model.source.repo][model.weights] = WEIGHTS[name]
        hub.releases["faces.pt"] = FACES
        yield hub


class Command:
    """`streamapp models …` with a directory and a hub."""

    def __init__(self, home: Path, hub: ImitatedHub | None = None, **settings: str) -> None:
        self.directory = home / "models"
        url = hub.url if hub else "http://127.0.0.1:1"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": url,
            "STREAMAPP_ENV_FILE": "",
            "STREAMAPP_MODELS_DIR": str(self.directory),
            "STREAMAPP_MODELS_FACENET_URL": f"{url}/release/faces.pt",
            **settings,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "streamapp.cli", "models", *arguments],
            env=self.environment,
            cwd=Path(__file__).resolve().parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=100)
        return process.returncode, out, err


def test_pull_list_and_pull_again(hub: ImitatedHub, tmp_path: Path) -> None:
    models = Command(tmp_path, hub)
    code, out, err = models.run("pull")
    assert code == 0, (out, err)
    assert [line.partition(":")[0] for line in out.splitlines()] == list(MODELS)
    assert "facenet 256,000/256,000 bytes (100%)" in err
    for name, content in WEIGHTS.items():
        assert find(models.directory, name).file.read_bytes() == content

    code, out, err = models.run("list", "--json")
    assert (code, err) == (0, "")
    listed = json.loads(out)
    assert (listed["engine"], listed["extra"], listed["directory"]) == ("pixel", None, str(models.directory))
    assert [each["state"] for each in listed["models"]] == ["present"] * 3
    assert [each["revision"] for each in listed["models"]] == [
        sha256(WEIGHTS[each["name"]]).hexdigest()[:12] for each in listed["models"]
    ]
    assert [each["size"] for each in listed["models"]] == [400_000, 400_000, 256_000]
    assert listed["models"][0]["licence"] == "mit"

    hub.asked.clear()
    code, out, err = models.run("pull", "clip", "facenet", "--json")
    assert (code, err) == (0, "")
    assert [(each["name"], each["fetched"]) for each in json.loads(out)] == [("clip", 0), ("facenet", 0)]
    assert hub.fetched() == []


def test_list_says_what_is_missing_and_what_is_wrong(hub: ImitatedHub, tmp_path: Path) -> None:
    models = Command(tmp_path, hub)
    code, out, _ = models.run("list")
    assert code == 0, "with engine pixel nothing is needed"
    assert out.count(" missing ") == 3
    assert Command(tmp_path, hub, STREAMAPP_ENGINE="models").run("list")[0] == 1

    assert models.run("pull", "clip")[0] == 0
    (models.directory / "clip" / MODELS["clip"].weights).write_bytes(b"damaged")
    code, out, _ = models.run("list")
    assert code == 1
    assert "clip     wrong" in out
    assert "is not what manifest.json says: `streamapp models pull clip` fetches it anew" in out


def test_one_that_cannot_be_fetched_does_not_keep_the_others(hub: ImitatedHub, tmp_path: Path) -> None:
    assert isinstance(MODELS["clip"].source, Hub)
    del hub.files[MODELS["clip"].source.repo]
    models = Command(tmp_path, hub)
    code, out, err = models.run("pull")
    assert code == 1
    first, *others = out.splitlines()
    assert first == f"clip: 404 from {hub.url}/api/models/{MODELS['clip'].source.repo}/revision/main"
    assert [line.split(":")[0] for line in others] == ["blip", "facenet"]
    assert "Traceback" not in err
    assert find(models.directory, "blip")


def test_an_unknown_name_is_a_usage_error(tmp_path: Path) -> None:
    for command in ("pull", "check"):
        code, _, err = Command(tmp_path).run(command, "gpt")
        assert code == 2
        assert "'gpt' is not one of 'clip', 'blip', 'facenet'" in err


@pytest.mark.parametrize("name", ["blip", "facenet"])
def test_a_killed_pull_leaves_nothing_that_could_be_loaded_and_the_next_completes(
    hub: ImitatedHub, tmp_path: Path, name: str
) -> None:
    models = Command(tmp_path, hub)
    digest = sha256(WEIGHTS["blip"]).hexdigest()
    path = "/release/faces.pt" if name == "facenet" else f"/cdn/{digest}"
    hub.hold = {path: 100_000}
    with models.start("pull", name) as process:
        until(lambda: hub.fetched(of=path))
        process.kill()
    assert not (models.directory / name).exists()
    hub.hold = {}
    hub.let_go.set()
    code, out, err = models.run("pull", name)
    assert code == 0, (out, err)
    assert find(models.directory, name).file.read_bytes() == WEIGHTS[name]
    assert sorted(each.name for each in models.directory.iterdir()) == [f".{name}.lock", name]
    manifest = json.loads((models.directory / name / "manifest.json").read_text())
    assert sorted(each.name for each in (models.directory / name).iterdir()) == sorted(
        [*manifest["files"], "manifest.json"]
    )


def test_two_pulls_at_once_take_turns(hub: ImitatedHub, tmp_path: Path) -> None:
    models = Command(tmp_path, hub)
    path = f"/cdn/{sha256(WEIGHTS['clip']).hexdigest()}"
    hub.hold = {path: 100_000}
    with models.start("pull", "clip") as first:
        until(lambda: hub.fetched(of=path))
        with models.start("pull", "clip") as second:
            assert second.stderr is not None
            assert ".clip.lock, waiting for it" in second.stderr.readline()
            hub.let_go.set()
            assert first.wait(60) == 0
            assert second.wait(60) == 0
            assert second.stdout is not None
            assert "all there" in second.stdout.read()
    assert len(hub.fetched(of=path)) == 1
    assert find(models.directory, "clip").file.read_bytes() == WEIGHTS["clip"]


# Real loading, of tiny models in the published formats.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tiny")
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-m", "tests.tiny_models", str(home / "models")], cwd=root, check=True, timeout=100)
    return home


def test_check_loads_every_model_and_looks_with_it(tiny: Path) -> None:
    code, out, err = Command(tiny).run("check", "--json")
    assert code == 0, (out, err)
    checked = json.loads(out)
    assert [each["name"] for each in checked] == list(MODELS)
    for each in checked:
        assert each["error"] is None
        assert each["model"].endswith(f"@{find(tiny / 'models', each['name']).revision}")
        assert each["load_seconds"] > 0
        assert each["probe_seconds"] > 0
    assert checked[2]["memory"] > 80 * 10**6, "the face embedder has its real size"


def test_check_fails_where_one_model_is_of_no_use(tiny: Path, tmp_path: Path) -> None:
    models = Command(tmp_path)
    shutil.copytree(tiny / "models", models.directory)
    (models.directory / "blip" / MODELS["blip"].weights).write_text("version https://git-lfs.github.com/spec/v1\n")
    (models.directory / "facenet" / MODELS["facenet"].weights).unlink()
    code, out, err = models.run("check")
    assert code == 1, err
    clip, blip, facenet = out.splitlines()
    assert clip.startswith("clip     works    clip-")
    assert blip.startswith("blip     FAILED ")
    assert blip.endswith("away, then `streamapp models pull blip`")
    assert facenet.startswith("facenet  FAILED ")
    assert facenet.endswith("vggface2.pt is missing: `streamapp models pull facenet` fetches it")
    assert "Traceback" not in err
