"""The sample files: what make.py draws, small, and served."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

import samples
from samples.make import PICTURES, draw


def test_the_files_are_what_make_draws() -> None:
    """Not to the last bit: encoders differ between versions."""
    drawn = draw()
    assert set(drawn) == set(samples.NAMES) == set(PICTURES)
    assert {file.stem for file in samples.FOLDER.iterdir()} == set(samples.NAMES)
    for name, image in drawn.items():
        with Image.open(samples.path(name)) as stored:
            assert stored.size == image.size
            difference = np.abs(np.asarray(stored).astype(int) - np.asarray(image).astype(int))
        assert difference.mean() < 3, name
        assert np.percentile(difference, 99) < 40, name


def test_drawing_is_deterministic() -> None:
    assert PICTURES["beach_sunset"]().tobytes() == PICTURES["beach_sunset"]().tobytes()


def test_the_files_are_small() -> None:
    for name in samples.NAMES:
        assert 1000 < samples.path(name).stat().st_size < 60_000, name


def test_a_sample_that_is_none() -> None:
    with pytest.raises(KeyError, match="no sample 'moon', there are beach"):
        samples.path("moon")


def test_serving() -> None:
    before = threading.active_count()
    with samples.serve() as base_url, samples.serve() as other_url:
        assert base_url != other_url
        for name in samples.NAMES:
            with urllib.request.urlopen(f"{base_url}/{name}.jpg") as response:
                assert response.headers["Content-Type"] == "image/jpeg"
                assert response.read() == samples.path(name).read_bytes()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base_url}/moon.jpg")
        assert caught.value.code == 404
        caught.value.close()
    assert threading.active_count() == before
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{base_url}/beach.jpg", timeout=2)
