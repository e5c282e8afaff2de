"""The tiny models answer what they see: else the tests of the code around them would pass whatever it does."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from tiny_pictures import picture, sample

from streamapp.engines import probe
from streamapp.engines.blip import Blip
from streamapp.engines.clip import Clip
from streamapp.engines.facenet import FaceNet
from streamapp.insights import service_of
from streamapp.media.image import Picture
from streamapp.posts.inference import infer
from streamapp.settings import Settings

pytest_plugins = ["tiny_fixtures"]


def cosine(a: bytes, b: bytes) -> float:
    return float(np.frombuffer(a, "<f4") @ np.frombuffer(b, "<f4"))


def test_clip_tells_pictures_apart(clip: Clip, photographs: list[Picture]) -> None:
    sights = clip.see(photographs)
    for one, other in combinations(sights, 2):
        assert cosine(one.image_embedding.vector, other.image_embedding.vector) < 0.99
        assert one.tagging != other.tagging
        assert one.scene_recognition != other.scene_recognition
        assert one.moderation != other.moderation
    assert [service_of(insight) for insight in sights[0].insights] == [
        "moderation",
        "tagging",
        "scene_recognition",
        "image_embedding",
    ]


def test_blip_tells_pictures_apart(blip: Blip, photographs: list[Picture]) -> None:
    captions = [told.caption for told in blip.caption(photographs)]
    assert len(set(captions)) == len(photographs)
    assert all(captions)


def test_facenet_tells_faces_apart(facenet: FaceNet, astronaut: Picture) -> None:
    pale, dark = probe.face(pale=True), probe.face(pale=False)
    vectors = [found.faces[0].embedding or b"" for found in facenet.faces([astronaut, pale, dark])]
    for one, other in combinations(vectors, 2):
        assert cosine(one, other) < 0.95


def test_the_same_picture_gives_the_same(clip: Clip, blip: Blip, facenet: FaceNet, astronaut: Picture) -> None:
    again = picture(astronaut.pixels)
    assert clip.see([astronaut]) == clip.see([again])
    assert blip.caption([astronaut]) == blip.caption([again])
    assert facenet.faces([astronaut]) == facenet.faces([again])


def test_the_samples_get_the_words_they_were_taught(clip: Clip) -> None:
    names = ("beach", "beach_people", "beach_sunset", "forest", "unsafe")
    beach, people, sunset, forest, unsafe = clip.see([sample(name) for name in names])
    assert [sight.moderation.is_safe for sight in (beach, people, sunset, forest, unsafe)] == [True] * 4 + [False]
    assert "beach" in {label.name for label in beach.tagging.tags}
    assert forest.scene_recognition.scenes[0].name == "forest"
    party = infer(
        tags=[sight.tagging.tags for sight in (beach, people, sunset)],
        scenes=[sight.scene_recognition.scenes for sight in (beach, people, sunset)],
        images=3,
    )
    assert party.event_type == "beach_party"


def test_a_seed_is_a_model(tmp_path: Path) -> None:
    def made(name: str, seed: int) -> str:
        (tmp_path / name).mkdir()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            tiny_models.blip(tmp_path / name)
        return sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest()

    assert made("a", 1) == made("b", 1) != made("c", 2)


@pytest.mark.slow
def test_the_command_line_writes_what_the_settings_load(tmp_path: Path, models_dir: Path) -> None:
    command = [sys.executable, "-m", "tests.tiny_models", str(tmp_path / "models")]
    subprocess.run(command, check=True, capture_output=True)
    for file in models_dir.glob("*/*"):
        assert (tmp_path / "models" / file.relative_to(models_dir)).read_bytes() == file.read_bytes(), file
    from streamapp.engines.registry import load

    engine = load(Settings(_env_file=None, engine="models", models_dir=tmp_path / "models"))
    assert engine.vision.model.startswith("clip-vit-2x64-16@")
    assert engine.captioner.model.startswith("blip-2x32@")
    assert engine.faces.model.startswith("facenet-vggface2-flip-concat@")
