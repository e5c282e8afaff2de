"""Fetching weights from an imitated hub (see there: no real one is at hand), with huggingface_hub's real client."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from imitated_hub import ImitatedHub, imitated_hub

from streamapp.engines.pull import Pulled, pull
from streamapp.engines.sources import PullError, ReleasedFile, Repository, Source
from streamapp.engines.weights import MANIFEST, MODELS, Hub, Model, ModelsError, Release, WeightsError, find

pytest.importorskip("huggingface_hub")

CLIP, FACENET = MODELS["clip"], MODELS["facenet"]
CONFIG, WEIGHTS = "open_clip_config.json", CLIP.weights
REPO = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"


def content(seed: int, size: int = 200_000) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def hub() -> Iterator[ImitatedHub]:
    with imitated_hub() as hub:
        hub.files[REPO] = {
            CONFIG: b'{"model_cfg": {}}',
            WEIGHTS: content(1),
            "open_clip_pytorch_model.bin": content(1),  # not wanted
            "README.md": b"---\nlicense: mit\n---\n",
        }
        hub.releases["faces.pt"] = content(2)
        yield hub


@pytest.fixture(autouse=True)
def no_cache_of_the_developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)  # of its attempts


def source(hub: ImitatedHub, model: Model = CLIP) -> Source:
    if isinstance(model.source, Hub):
        return Repository(model, model.source, endpoint=hub.url)
    assert isinstance(model.source, Release)
    return ReleasedFile(model, model.source, url=f"{hub.url}/release/faces.pt")


def fetch(hub: ImitatedHub, directory: Path, model: Model = CLIP) -> Pulled:
    return pull(model, directory, source(hub, model), report=lambda *_: None, tell=lambda _: None)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith(".lock"))


def test_a_pull_fetches_what_is_wanted_and_says_what_it_was(hub: ImitatedHub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path)
    assert names(tmp_path) == ["clip"]
    assert names(tmp_path / "clip") == sorted([CONFIG, WEIGHTS, MANIFEST])
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / "clip" / name).read_bytes() == hub.files[REPO][name]
    manifest = json.loads((tmp_path / "clip" / MANIFEST).read_text())
    digest = sha256(hub.files[REPO][WEIGHTS]).hexdigest()
    assert manifest["source"] == f"{hub.url}/{REPO}"
    assert manifest["revision"] == hub.commit(REPO)
    assert manifest["licence"] == "mit"
    assert manifest["files"][WEIGHTS] == {"size": 200_000, "sha256": digest}
    assert set(manifest["files"]) == {CONFIG, WEIGHTS}
    assert find(tmp_path, "clip").revision == digest[:12]
    assert done.fetched == 200_000 + len(hub.files[REPO][CONFIG])


def test_progress_counts_all_files_as_one(hub: ImitatedHub, tmp_path: Path) -> None:
    hub.files[REPO][WEIGHTS] = content(1, 30_000_000)  # the client reports every 10 MB
    seen: list[tuple[int, int]] = []
    pull(CLIP, tmp_path, source(hub), report=lambda *told: seen.append(told), tell=lambda _: None)
    total = 30_000_000 + len(hub.files[REPO][CONFIG])
    assert [of for _, of in seen] == [total] * len(seen)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_what_is_there_is_not_fetched_again(hub: ImitatedHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    before = len(hub.fetched())
    done = fetch(hub, tmp_path)
    assert done.fetched == 0
    assert len(hub.fetched()) == before


def test_only_what_changed_is_fetched(hub: ImitatedHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    hub.files[REPO][CONFIG] = b'{"model_cfg": {"embed_dim": 512}}'
    hub.asked.clear()
    fetch(hub, tmp_path)
    assert [each.rpartition("/")[2] for each in hub.fetched()] == [CONFIG]
    assert (tmp_path / "clip" / CONFIG).read_bytes() == hub.files[REPO][CONFIG]
    assert json.loads((tmp_path / "clip" / MANIFEST).read_text())["revision"] == hub.commit(REPO)
    assert find(tmp_path, "clip").revision


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("damage", ["changed", "truncated", "gone"])
def test_a_damaged_file_is_found_and_only_it_is_fetched_anew(
    hub: ImitatedHub, tmp_path: Path, name: str, damage: str
) -> None:
    fetch(hub, tmp_path)
    file = tmp_path / "clip" / name
    good = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(good[:-1] if damage == "truncated" else bytes([good[0] ^ 1]) + good[1:])
    with pytest.raises(WeightsError, match=rf"{name}.*`streamapp models pull clip`"):
        find(tmp_path, "clip")
    hub.asked.clear()
    fetch(hub, tmp_path)
    assert len([each for each in hub.fetched() if "/cdn/" in each or each.endswith(CONFIG)]) == 1
    assert file.read_bytes() == good
    assert find(tmp_path, "clip").revision


def test_bytes_that_are_not_the_published_ones_are_refused(hub: ImitatedHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    before = find(tmp_path, "clip")
    hub.files[REPO][WEIGHTS] = content(3)
    hub.damage = {f"/cdn/{sha256(content(3)).hexdigest()}"}
    with pytest.raises(
        PullError,
        match=f"^{WEIGHTS} from .* has not the size and checksum that it should have; move .* away to begin anew$",
    ):
        fetch(hub, tmp_path)
    assert find(tmp_path, "clip") == before, "what was there still is"
    hub.damage = set()
    fetch(hub, tmp_path)
    assert (tmp_path / "clip" / WEIGHTS).read_bytes() == content(3)


def test_a_connection_that_ends_early_is_taken_up_again(hub: ImitatedHub, tmp_path: Path) -> None:
    hub.files[REPO][WEIGHTS] = content(4, 25_000_000)
    path = f"/cdn/{sha256(hub.files[REPO][WEIGHTS]).hexdigest()}"
    hub.cut = {path: [12_000_000]}
    fetch(hub, tmp_path)
    assert (tmp_path / "clip" / WEIGHTS).read_bytes() == hub.files[REPO][WEIGHTS]
    assert len(hub.fetched(of=path)) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_what_the_hub_refuses_is_one_line(hub: ImitatedHub, tmp_path: Path, status: int) -> None:
    hub.status = status
    with pytest.raises(PullError, match=rf"^{status} from {hub.url}/api/models/{REPO}/revision/main$") as caught:
        fetch(hub, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    gone = ImitatedHub(url="http://127.0.0.1:1")
    with pytest.raises(PullError, match=f"^http://127.0.0.1:1/{REPO}: .*refused") as caught:
        fetch(gone, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_repository_without_the_file_is_said(hub: ImitatedHub, tmp_path: Path) -> None:
    del hub.files[REPO][WEIGHTS]
    with pytest.raises(PullError, match=f"{REPO} at {hub.commit(REPO)} has no file {WEIGHTS}"):
        fetch(hub, tmp_path)


def test_weights_that_no_pull_has_put_there_are_not_replaced(hub: ImitatedHub, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / WEIGHTS).write_bytes(b"trained for weeks")
    with pytest.raises(PullError, match="differs from what is published: move it away first"):
        fetch(hub, tmp_path)
    assert (tmp_path / "clip" / WEIGHTS).read_bytes() == b"trained for weeks"
    assert hub.fetched() == []


def test_a_directory_prepared_elsewhere_is_checked_and_kept(hub: ImitatedHub, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for name in (CONFIG, WEIGHTS):
        (tmp_path / "clip" / name).write_bytes(hub.files[REPO][name])
    inode = (tmp_path / "clip" / WEIGHTS).stat().st_ino
    assert fetch(hub, tmp_path).fetched == 0
    assert hub.fetched() == []
    assert (tmp_path / "clip" / WEIGHTS).stat().st_ino == inode
    assert (tmp_path / "clip" / MANIFEST).exists()


def test_a_damaged_manifest_is_found_and_written_anew(hub: ImitatedHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    (tmp_path / "clip" / MANIFEST).write_text('{"files": [')
    with pytest.raises(WeightsError, match=f"{MANIFEST} is damaged: `streamapp models pull clip`"):
        find(tmp_path, "clip")
    assert fetch(hub, tmp_path).fetched == 0
    assert find(tmp_path, "clip").revision


@pytest.mark.parametrize("killed", ["between", "before", "after"])
def test_what_a_killed_pull_left_between_two_renames_is_no_loss(hub: ImitatedHub, tmp_path: Path, killed: str) -> None:
    fetch(hub, tmp_path)
    old = (tmp_path / "clip" / WEIGHTS).read_bytes()
    hub.files[REPO][WEIGHTS] = content(5)
    part, aside = tmp_path / ".clip.part", tmp_path / ".clip.old"
    part.mkdir()
    for name in (CONFIG, WEIGHTS):
        (part / name).write_bytes(hub.files[REPO][name])
    (part / MANIFEST).write_text("{}")
    if killed == "between":
        (tmp_path / "clip").rename(aside)
        hub.status = 500
        with pytest.raises(PullError):
            fetch(hub, tmp_path)
        assert (tmp_path / "clip" / WEIGHTS).read_bytes() == old, "the old is back"
        hub.status = 0
    elif killed == "after":
        aside.mkdir()
        (aside / WEIGHTS).write_bytes(b"older")
    hub.asked.clear()
    assert fetch(hub, tmp_path).fetched == 0
    assert hub.fetched() == []
    assert (tmp_path / "clip" / WEIGHTS).read_bytes() == content(5)
    assert names(tmp_path) == ["clip"]


def test_a_directory_that_cannot_be_made_is_one_line(hub: ImitatedHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PullError, match=r"^clip cannot be pulled: .*file"):
        fetch(hub, tmp_path / "file" / "models")


# A release publishes no checksum: the first pull is trusted, later ones are held against it.


def test_a_released_file_is_recorded(hub: ImitatedHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path, FACENET)
    assert (tmp_path / "facenet" / FACENET.weights).read_bytes() == content(2)
    manifest = json.loads((tmp_path / "facenet" / MANIFEST).read_text())
    assert manifest["revision"] == "v2.2.9"
    assert manifest["files"] == {FACENET.weights: {"size": 200_000, "sha256": sha256(content(2)).hexdigest()}}
    asked = len(hub.asked)
    assert fetch(hub, tmp_path, FACENET).fetched == 0
    assert len(hub.asked) == asked


def test_a_released_file_that_changed_is_refused(hub: ImitatedHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path, FACENET)
    file = tmp_path / "facenet" / FACENET.weights
    file.write_bytes(b"damaged")
    hub.releases["faces.pt"] = content(6)
    with pytest.raises(PullError, match="has not the size and checksum"):
        fetch(hub, tmp_path, FACENET)
    hub.releases["faces.pt"] = content(2)
    fetch(hub, tmp_path, FACENET)
    assert file.read_bytes() == content(2)


def test_a_released_file_of_another_version_is_another_file(hub: ImitatedHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path, FACENET)
    hub.releases["faces.pt"] = content(7)
    assert fetch(hub, tmp_path, FACENET).fetched == 0
    fetch(hub, tmp_path, replace(FACENET, source=Release("v3")))
    assert (tmp_path / "facenet" / FACENET.weights).read_bytes() == content(7)


def test_a_released_file_that_ends_early_is_refused(hub: ImitatedHub, tmp_path: Path) -> None:
    hub.cut = {"/release/faces.pt": [100_000, 50_000]}
    assert fetch(hub, tmp_path / "twice", FACENET).fetched == 200_000
    hub.cut = {"/release/faces.pt": [100_000] * 3}
    with pytest.raises(PullError, match=r"ended after 100,000 of 200,000 bytes"):
        fetch(hub, tmp_path, FACENET)
    with pytest.raises(ModelsError, match="missing"):
        find(tmp_path, "facenet")
    fetch(hub, tmp_path, FACENET)
    assert find(tmp_path, "facenet").revision == sha256(content(2)).hexdigest()[:12]


def test_a_released_file_that_is_not_there_is_one_line(hub: ImitatedHub, tmp_path: Path) -> None:
    hub.releases.clear()
    with pytest.raises(PullError, match=r"^http://.*/release/faces.pt: HTTP Error 404: Not Found$"):
        fetch(hub, tmp_path, FACENET)


def test_faces_prepared_elsewhere_are_kept_only_if_they_are_the_released_ones(hub: ImitatedHub, tmp_path: Path) -> None:
    file = tmp_path / "facenet" / FACENET.weights
    file.parent.mkdir()
    file.write_bytes(b"of somebody else")
    with pytest.raises(PullError, match="differs from what is published: move it away first"):
        fetch(hub, tmp_path, FACENET)
    assert file.read_bytes() == b"of somebody else"
    file.write_bytes(content(2))
    fetch(hub, tmp_path, FACENET)
    assert find(tmp_path, "facenet").revision == sha256(content(2)).hexdigest()[:12]
