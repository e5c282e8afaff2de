"""What a batch gives is what each picture alone gives, and every picture gets its own.

Rounding differs with the size of a batch. In float32 a component of a vector moves by less than 2e-6 (measured: 1e-7),
a score, which has four decimals, by less than 2e-4; captions are equal. Of bfloat16 vectors the cosine is above 0.999.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import RUNTIME, said

from streamapp.engines.base import Sight
from streamapp.engines.blip import Blip
from streamapp.engines.clip import Clip
from streamapp.engines.facenet import FaceNet
from streamapp.engines.torch_runtime import Runtime
from streamapp.insights import FaceDetection, Label
from streamapp.media.image import Picture

pytest_plugins = ["tiny_fixtures"]

VECTOR = 2e-6
SCORE = 2e-4
compositions = st.lists(st.integers(0, 4), min_size=1, max_size=7)
few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)


def near(one: bytes, other: bytes) -> bool:
    return bool(np.abs(np.frombuffer(one, "<f4") - np.frombuffer(other, "<f4")).max() < VECTOR)


def same_labels(one: tuple[Label, ...], other: tuple[Label, ...]) -> bool:
    """Where two scores are closer than rounding they may have changed places."""
    scores = [[label.score for label in labels] for labels in (one, other)]
    return len(one) == len(other) and scores[0] == pytest.approx(scores[1], abs=SCORE)


def same_sight(one: Sight, other: Sight) -> bool:
    return (
        near(one.image_embedding.vector, other.image_embedding.vector)
        and same_labels(one.tagging.tags, other.tagging.tags)
        and same_labels(one.scene_recognition.scenes, other.scene_recognition.scenes)
        and same_labels(one.moderation.scores, other.moderation.scores)
        and one.moderation.is_safe == other.moderation.is_safe
        and one.scene_recognition.colors == other.scene_recognition.colors
    )


def same_faces(one: FaceDetection, other: FaceDetection) -> bool:
    return (one.width, one.height, len(one.faces)) == (other.width, other.height, len(other.faces)) and all(
        a.bbox == b.bbox
        and a.confidence == pytest.approx(b.confidence, abs=SCORE)
        and a.quality == pytest.approx(b.quality, abs=SCORE)
        and near(a.embedding or b"", b.embedding or b"")
        for a, b in zip(one.faces, other.faces, strict=True)
    )


@few
@given(compositions)
def test_clip(clip: Clip, photographs: list[Picture], picks: list[int]) -> None:
    batch = clip.see([photographs[pick] for pick in picks])
    for pick, sight in zip(picks, batch, strict=True):
        assert same_sight(sight, clip.see([photographs[pick]])[0])


@few
@given(compositions)
def test_blip(blip: Blip, photographs: list[Picture], picks: list[int]) -> None:
    batch = blip.caption([photographs[pick] for pick in picks])
    assert batch == [blip.caption([photographs[pick]])[0] for pick in picks]


@few
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_facenet(facenet: FaceNet, photographs: list[Picture], picks: list[int]) -> None:
    batch = facenet.faces([photographs[pick] for pick in picks])
    for pick, found in zip(picks, batch, strict=True):
        assert same_faces(found, facenet.faces([photographs[pick]])[0])
        assert len(found.faces) == (pick == 0)


def test_nothing_gives_nothing(clip: Clip, blip: Blip, facenet: FaceNet) -> None:
    assert (clip.see([]), clip.embed_texts([]), blip.caption([]), facenet.faces([])) == ([], [], [], [])


def test_several_threads_at_once(clip: Clip, blip: Blip, facenet: FaceNet, photographs: list[Picture]) -> None:
    alone = [(clip.see([p])[0], blip.caption([p])[0], facenet.faces([p])[0]) for p in photographs]
    texts = [f"a text of {number} words" for number in range(40)]
    embedded = clip.embed_texts(texts)

    def look(turn: int) -> bool:
        pick = turn % len(photographs)
        sight, caption, faces = alone[pick]
        return (
            same_sight(clip.see([photographs[pick]])[0], sight)
            and blip.caption([photographs[pick]]) == [caption]
            and same_faces(facenet.faces([photographs[pick]])[0], faces)
            and near(clip.embed_texts([texts[turn]])[0], embedded[turn])
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(look, range(10)))


def test_bfloat16_says_about_the_same(clip: Clip, blip: Blip, models_dir: Path, photographs: list[Picture]) -> None:
    runtime = Runtime(device=RUNTIME.device, dtype=torch.bfloat16)
    short = Clip(models_dir / "clip", revision="tiny", dim=512, vocabulary=said(), runtime=runtime)
    for exact, rounded in zip(clip.see(photographs), short.see(photographs), strict=True):
        vectors = (exact.image_embedding.vector, rounded.image_embedding.vector)
        one, other = (np.frombuffer(vector, "<f4") for vector in vectors)
        assert one @ other > 0.999
        assert rounded.moderation.confidence == pytest.approx(exact.moderation.confidence, abs=0.1)
    captions = Blip(models_dir / "blip", revision="tiny", runtime=runtime).caption(photographs)
    assert len({told.caption for told in captions}) > 1  # random weights are too near ties to be equal
    assert len(captions) == len(photographs)
