"""Which weights are there, and what is said where they are missing or wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.engines import probe, registry
from streamapp.engines.base import unit
from streamapp.engines.pixel import Pixel
from streamapp.engines.weights import (
    MANIFEST,
    MODELS,
    Manifest,
    ModelsError,
    Sum,
    Weights,
    WeightsError,
    find,
    first_line,
    measure,
    read_manifest,
)
from streamapp.insights import Face, FaceDetection, ImageCaptioning, ImageEmbedding
from streamapp.media.image import Picture
from streamapp.settings import Settings


def prepared(directory: Path, name: str, *, manifest: bool = False) -> Path:
    """A model's directory with the files that must be there, of any content."""
    model, path = MODELS[name], directory / name
    path.mkdir(parents=True)
    files = (model.weights, *(group[0] for group in model.needed))
    for file in files:
        (path / file).write_bytes(file.encode())
    if manifest:
        sums = {file: measure(path / file) for file in files}
        (path / MANIFEST).write_text(Manifest(model=name, source="here", revision="1", files=sums).text())
    return path


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("manifest", [False, True])
def test_weights_are_named_by_the_first_digits_of_their_sha256(tmp_path: Path, name: str, manifest: bool) -> None:
    path = prepared(tmp_path, name, manifest=manifest)
    file = path / MODELS[name].weights
    assert find(tmp_path, name) == Weights(path, file, sha256(file.read_bytes()).hexdigest()[:12])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("manifest", [False, True])
def test_each_file_that_is_missing_is_named_with_the_command(tmp_path: Path, name: str, manifest: bool) -> None:
    path = prepared(tmp_path, name, manifest=manifest)
    for file in [each for each in path.iterdir() if each.name != MANIFEST]:
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(WeightsError) as caught:
            find(tmp_path, name)
        assert str(caught.value) == f"{file} is missing: `streamapp models pull {name}` fetches it"
        file.write_bytes(content)
    assert find(tmp_path, name)


def test_no_directory_at_all_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"clip/open_clip_model.safetensors is missing: `streamapp models pull clip`"
    ):
        find(tmp_path / "nowhere", "clip")


@pytest.mark.parametrize("group", MODELS["blip"].needed[1:])
def test_of_files_that_mean_the_same_one_is_enough(tmp_path: Path, group: tuple[str, ...]) -> None:
    path = prepared(tmp_path, "blip")
    (path / group[0]).rename(path / group[1])
    assert find(tmp_path, "blip")


@given(at=st.integers(0, 10**6), change=st.integers(1, 255))
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, at: int, change: int) -> None:
    directory = tmp_path_factory.mktemp("models")
    path = prepared(directory, "clip", manifest=True)
    file = path / MODELS["clip"].weights
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= change
    file.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        find(directory, "clip")
    assert str(caught.value) == f"{file} is not what {MANIFEST} says: `streamapp models pull clip` fetches it anew"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"model": "clip", "source": "x", "revision": "1", "licence": null, "files": []}',
        '{"model": "clip", "source": "x", "revision": "1", "licence": null, "files": {"a": 1}}',
        '{"model": "clip", "source": "x", "revision": "1", "licence": null, "files": {"a": {"size": "x"}}}',
        "\udcff",
    ],
)
def test_a_damaged_manifest_is_said(tmp_path: Path, text: str) -> None:
    path = prepared(tmp_path, "clip")
    (path / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(WeightsError, match=rf"{MANIFEST} is damaged: `streamapp models pull clip` fetches it anew$"):
        find(tmp_path, "clip")


def test_a_manifest_that_leaves_the_weights_out_says_nothing_of_them(tmp_path: Path) -> None:
    path = prepared(tmp_path, "clip")
    (path / MANIFEST).write_text(Manifest(model="clip", source="x", revision="1").text())
    with pytest.raises(WeightsError, match=f"{MANIFEST} says nothing of open_clip_model.safetensors"):
        find(tmp_path, "clip")


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = Manifest(model="clip", source="https://x/y", revision="1", licence="mit", files={"a": Sum(3, "0" * 64)})
    (tmp_path / MANIFEST).write_text(manifest.text())
    assert read_manifest(tmp_path) == manifest
    assert json.loads(manifest.text())["files"] == {"a": {"size": 3, "sha256": "0" * 64}}


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = prepared(tmp_path, "clip")
    (path / MANIFEST).mkdir()
    with pytest.raises(WeightsError, match=rf"{MANIFEST} cannot be read \(Is a directory\)"):
        find(tmp_path, "clip")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError("\n a \n"), "a"),
        (KeyError("x"), "'x'"),
    ],
)
def test_an_error_is_one_line_that_is_not_empty(error: Exception, line: str) -> None:
    assert first_line(error) == line


# The registry.


def test_pixel_is_all_three_parts() -> None:
    engine = registry.load(Settings())
    assert isinstance(engine.vision, Pixel)
    assert engine.vision is engine.captioner is engine.faces  # type: ignore[comparison-overlap]
    assert engine.model == "pixel-1"


def test_models_without_weights_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(
        WeightsError, match=r"clip/open_clip_model.safetensors is missing: `streamapp models pull clip`"
    ):
        registry.load(Settings(engine="models", models_dir=tmp_path))


def test_no_part_is_loaded_before_all_weights_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    prepared(tmp_path, "clip")
    prepared(tmp_path, "blip")
    monkeypatch.setattr(registry, "part", lambda *_: pytest.fail("loaded"))
    with pytest.raises(WeightsError, match="`streamapp models pull facenet`"):
        registry.load(Settings(engine="models", models_dir=tmp_path))


def fails(error: Exception) -> Any:
    def load(*_: object) -> None:
        raise error

    return lambda: {"clip": load}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            RuntimeError("bad\nworse"),
            "/m/clip/w cannot be loaded: bad; move /m/clip away, then `streamapp models pull clip`",
        ),
        (ModelsError("/m/clip: other"), "/m/clip: other; move /m/clip away, then `streamapp models pull clip`"),
        (ModelsError("STREAMAPP_DEVICE=x is not there"), "STREAMAPP_DEVICE=x is not there"),
        (WeightsError("w is missing"), "w is missing"),
    ],
)
def test_a_part_that_cannot_be_loaded_is_one_line_that_helps(
    monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    monkeypatch.setattr(registry, "loaders", fails(error))
    with pytest.raises(ModelsError) as caught:
        registry.part(Settings(), "clip", Weights(Path("/m/clip"), Path("/m/clip/w"), "1"))
    assert str(caught.value) == line


WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = ("torch", "torchvision", "open_clip", "transformers", "facenet_pytorch", "huggingface_hub", "tqdm")
        return None if name.partition(".")[0] in hidden else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Without if each is PathFinder else each for each in sys.meta_path]
"""


def without_the_extra(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code where the packages of the extra are not installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code],
        capture_output=True,
        text=True,
        env={"PATH": "", **environment},
        cwd=Path(__file__).resolve().parents[2],
        timeout=60,
        check=False,
    )


def test_without_the_extra_models_is_refused_and_pixel_works() -> None:
    code = """
from streamapp.engines.registry import load
from streamapp.settings import Settings
print(load(Settings(engine="pixel")).model)
import streamapp.cli.main
try:
    load(Settings(engine="models"))
except Exception as error:
    print(type(error).__name__, error)
"""
    ran = without_the_extra(code)
    assert ran.stderr == ""
    first, second = ran.stdout.splitlines()
    assert first == "pixel-1"
    assert second.startswith("ModelsError torch, ")
    assert second.endswith("engine models needs it: pip install 'streamapp[models]'")


def test_without_the_extra_the_commands_say_so(tmp_path: Path) -> None:
    places = {
        "STREAMAPP_MODELS_DIR": str(tmp_path),
        "STREAMAPP_MODELS_FACENET_URL": "http://127.0.0.1:1/x",
        "STREAMAPP_ENV_FILE": "",
    }
    run = "import sys; from streamapp.cli import main; sys.argv = ['streamapp', 'models', *{}]; main()"
    for command, code in ((["list"], 0), (["check"], 1), (["pull", "clip"], 1)):
        ran = without_the_extra(run.format(command), **places)
        assert ran.returncode == code, ran
        assert "pip install 'streamapp[models]'" in ran.stdout
        assert ran.stderr == ""
    used = without_the_extra(run.format(["list"]), STREAMAPP_ENGINE="models", **places)
    assert used.returncode == 1


# The probe.


class Working:
    """Parts that answer with what a picture's first pixels and size give."""

    def vector(self, picture: Picture, width: int) -> bytes:
        crop = np.asarray(picture.image().resize((32, 32)), np.float64).ravel()[:width] - 100
        return unit(crop)

    def see(self, pictures: list[Picture]) -> list[Any]:
        tagging = SimpleNamespace(tags=())
        return [
            SimpleNamespace(image_embedding=ImageEmbedding(vector=self.vector(each, 512)), tagging=tagging)
            for each in pictures
        ]

    def embed_texts(self, texts: list[str]) -> list[bytes]:
        return [unit(np.eye(512)[len(text)]) for text in texts]

    def caption(self, pictures: list[Picture]) -> list[ImageCaptioning]:
        return [ImageCaptioning(caption=f"{each.pixels[0, 0]}") for each in pictures]

    def faces(self, pictures: list[Picture]) -> list[FaceDetection]:
        def found(picture: Picture) -> tuple[Face, ...]:
            if len(np.unique(picture.pixels)) == 2:  # the chessboard
                return ()
            return (Face(bbox=(0, 0, 9, 9), confidence=1.0, embedding=self.vector(picture, 1024)),)

        return [FaceDetection(width=320, height=320, faces=found(each)) for each in pictures]


class OtherWidth(Working):
    def vector(self, picture: Picture, width: int) -> bytes:
        return super().vector(picture, width - 1)


class Blind(Working):
    def vector(self, picture: Picture, width: int) -> bytes:
        return unit(np.ones(width))

    def caption(self, pictures: list[Picture]) -> list[ImageCaptioning]:
        return [ImageCaptioning(caption="a picture")] * len(pictures)


class NotANumber(Working):
    def vector(self, picture: Picture, width: int) -> bytes:
        return np.full(width, np.nan, "<f4").tobytes()


class Long(Working):
    def vector(self, picture: Picture, width: int) -> bytes:
        return (2 * np.frombuffer(super().vector(picture, width), "<f4")).tobytes()


class Moody(Working):
    def __init__(self) -> None:
        self.asked = 0

    def vector(self, picture: Picture, width: int) -> bytes:
        self.asked += 1
        return unit(np.random.default_rng(self.asked).normal(size=width))

    def caption(self, pictures: list[Picture]) -> list[ImageCaptioning]:
        self.asked += 1
        return [ImageCaptioning(caption=f"{self.asked} {index}") for index in range(len(pictures))]


class Silent(Working):
    def see(self, pictures: list[Picture]) -> list[Any]:
        return []

    def caption(self, pictures: list[Picture]) -> list[ImageCaptioning]:
        return [ImageCaptioning(caption=" ")] * len(pictures)

    def faces(self, pictures: list[Picture]) -> list[FaceDetection]:
        return [FaceDetection(width=320, height=320)] * len(pictures)


class Everywhere(Working):
    def faces(self, pictures: list[Picture]) -> list[FaceDetection]:
        face = [Face(bbox=(0, 0, 9, 9), confidence=1.0, embedding=self.vector(each, 1024)) for each in pictures]
        return [FaceDetection(width=320, height=320, faces=(each,)) for each in face]


@pytest.mark.parametrize("name", MODELS)
def test_parts_that_work_pass(name: str) -> None:
    assert probe.probe(name, Working(), Settings())


@pytest.mark.parametrize(
    ("part", "name", "said"),
    [
        (OtherWidth(), "clip", "vectors of pictures have 511 numbers, not the 512 of the settings"),
        (OtherWidth(), "facenet", "vectors of faces have 1023 numbers, not the 1024 of the settings"),
        (Blind(), "clip", "two different pictures have the same vector"),
        (Blind(), "blip", "two pictures have one caption: 'a picture'"),
        (Blind(), "facenet", "two different faces have the same vector"),
        (NotANumber(), "clip", "length nan, not 1"),
        (Long(), "facenet", "length 2.000, not 1"),
        (Moody(), "clip", "other answers the second time"),
        (Moody(), "blip", "other answers the second time"),
        (Moody(), "facenet", "other answers the second time"),
        (Silent(), "clip", "0 answers to 2 pictures"),
        (Silent(), "blip", "a caption is empty"),
        (Silent(), "facenet", r"found \[0, 0\] faces where one each is drawn"),
        (Everywhere(), "facenet", "found a face on a chessboard"),
    ],
)
def test_parts_that_do_not_work_are_caught(part: Any, name: str, said: str) -> None:
    with pytest.raises(probe.ProbeError, match=said):
        probe.probe(name, part, Settings())


def test_texts_are_probed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Working()
    monkeypatch.setattr(part, "embed_texts", lambda texts: [unit(np.ones(512))] * len(texts), raising=True)
    with pytest.raises(probe.ProbeError, match="two different texts have the same vector"):
        probe.probe("clip", part, Settings())


def test_models_are_described_for_all_that_engine_models_needs() -> None:
    assert list(MODELS) == ["clip", "blip", "facenet"]
    for name, model in MODELS.items():
        assert model.name == name
        assert model.purpose
        assert model.licence


def test_a_directory_that_cannot_be_looked_into_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read \(File name too long\): `streamapp models pull clip`"):
        find(tmp_path / ("x" * 300), "clip")
