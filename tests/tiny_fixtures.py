"""Fixtures: tiny models on disk, once per run, and pictures for them.

A test module asks for them with `pytest_plugins = ["tiny_fixtures"]`: so torch is imported for tests of models only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from tiny_models import RUNTIME, said, write
from tiny_pictures import picture, sample, saved

from streamapp.engines.blip import Blip
from streamapp.engines.clip import Clip
from streamapp.engines.facenet import FaceNet
from streamapp.media.image import Picture


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Such small products are slower with two threads, far more so beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def models_dir(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clip/, blip/ and facenet/."""
    return write(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def clip(models_dir: Path) -> Clip:
    return Clip(models_dir / "clip", revision="tiny", dim=512, vocabulary=said(), runtime=RUNTIME)


@pytest.fixture(scope="session")
def blip(models_dir: Path) -> Blip:
    return Blip(models_dir / "blip", revision="tiny", runtime=RUNTIME)


@pytest.fixture(scope="session")
def facenet(models_dir: Path) -> FaceNet:
    return FaceNet(models_dir / "facenet", revision="tiny", dim=1024, max_faces=32, runtime=RUNTIME)


@pytest.fixture(scope="session")
def astronaut() -> Picture:
    """512 x 512, one face."""
    return picture(data.astronaut())


@pytest.fixture(scope="session")
def photographs(astronaut: Picture) -> list[Picture]:
    """Of four sizes; faces are in the first only."""
    return [astronaut, picture(data.cat()), picture(data.coffee()), sample("beach"), sample("forest")]


@pytest.fixture(scope="session")
def odd() -> dict[str, Picture]:
    """What files of odd sizes and colour modes decode to."""
    image = Image.fromarray(data.astronaut()[:200, 100:320])
    transparent = image.convert("RGBA")
    transparent.putalpha(image.convert("L"))
    return {
        "1x1": saved(Image.new("RGB", (1, 1), "red"), "PNG"),
        "20x20": saved(image.resize((20, 20)), "PNG"),
        "19x400": saved(image.resize((19, 400)), "PNG"),
        "600x12": saved(image.resize((600, 12)), "JPEG"),
        "2x900": saved(image.resize((2, 900)), "PNG"),
        "30000x1": saved(Image.new("RGB", (30_000, 1), "teal"), "PNG"),
        "grey": saved(image.convert("L"), "JPEG"),
        "1 bit": saved(image.convert("1"), "PNG"),
        "palette": saved(image.convert("P"), "GIF"),
        "RGBA": saved(transparent, "PNG"),
        "CMYK": saved(image.convert("CMYK"), "JPEG"),
        "black": picture(np.zeros((300, 400, 3), np.uint8)),
        "noise": picture(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)),
    }
