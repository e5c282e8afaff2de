"""Which words are asked, and what is said of the answers: no model needed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from streamapp.engines.labels import PHRASES, TEMPLATES, Vocabulary, vocabulary
from streamapp.engines.weights import ModelsError
from streamapp.engines.zero_shot import MOST, moderation, softmax, words
from streamapp.posts.inference import PLACES, RULES
from streamapp.settings import Settings

NAMES = ("nude", "calm", "sea", "sun", "tree", "zoo")
finite = st.floats(-200, 200, allow_nan=False)


def said(*, tags: str = "a", scenes: str = "b", moderation: str = "safe:c,unsafe:d") -> Vocabulary:
    return vocabulary(tags=tags.split(","), scenes=scenes.split(","), moderation=moderation.split(","))


def test_a_word_stands_for_itself_its_phrase_or_the_phrases_given() -> None:
    found = said(tags="zebra,beach, party = a dance | a birthday ")
    assert [(word.name, word.phrases) for word in found.tags] == [
        ("zebra", ("zebra",)),
        ("beach", (PHRASES["beach"],)),
        ("party", ("a dance", "a birthday")),
    ]
    assert len(found.tags[2].sentences) == 2 * len(TEMPLATES)
    assert found.tags[0].sentences[0] == "a photo of zebra."


def test_moderation_tells_safe_words_from_unsafe_ones() -> None:
    found = said(moderation="unsafe:gore,safe:text=a page,unsafe: nsfw")
    assert [word.name for word in found.safe] == ["text"]
    assert [word.name for word in found.unsafe] == ["gore", "nsfw"]
    assert [word.name for word in found.words] == ["a", "b", "text", "gore", "nsfw"]


@pytest.mark.parametrize(
    ("wrong", "variable"),
    [
        ({"tags": "a,b,a"}, "STREAMAPP_TAG_LABELS: a twice"),
        ({"tags": "a,=b"}, "STREAMAPP_TAG_LABELS: '=b'"),
        ({"scenes": "a= | "}, "STREAMAPP_SCENE_LABELS"),
        ({"moderation": "safe:a,b"}, "STREAMAPP_MODERATION_LABELS: 'b'"),
        ({"moderation": "bad:a,safe:b"}, "STREAMAPP_MODERATION_LABELS: 'bad:a'"),
        ({"moderation": "safe:a"}, r"STREAMAPP_MODERATION_LABELS \(unsafe\): no words"),
        ({"moderation": "unsafe:a"}, r"STREAMAPP_MODERATION_LABELS \(safe\): no words"),
    ],
    ids=str,
)
def test_wrong_words_are_refused_with_the_name_of_the_setting(wrong: dict[str, str], variable: str) -> None:
    with pytest.raises(ModelsError, match=variable):
        said(**wrong)


def test_the_default_words_can_lead_to_every_event_and_place() -> None:
    settings = Settings(_env_file=None)
    known = {*settings.tag_labels, *settings.scene_labels}
    for rule in RULES:
        assert all(group & known for group in rule.require), rule.event
    assert set(settings.scene_labels) >= set(PLACES)
    judged = [entry.partition(":")[0] for entry in settings.moderation_labels]
    assert judged.count("safe") == judged.count("unsafe")


@given(arrays(np.float64, 6, elements=finite), st.floats(0.001, 0.9))
def test_words_are_the_most_probable_ones_and_at_least_one(logits: NDArray[np.float64], least: float) -> None:
    found = words(NAMES, logits, least=least)
    assert 1 <= len(found) <= MOST
    assert found[0].name == min(NAMES, key=lambda name: (-softmax(logits)[NAMES.index(name)], name))
    scores = [label.score for label in found]
    assert scores == sorted(scores, reverse=True)
    assert all(score >= round(least, 4) for score in scores[1:])
    assert sum(scores) <= 1.001


@given(arrays(np.float64, 6, elements=finite), st.integers(1, 5), st.floats(0.05, 1))
def test_unsafe_is_what_reaches_the_threshold(logits: NDArray[np.float64], safe: int, least: float) -> None:
    found = moderation(NAMES, logits, safe=safe, least=least)
    unsafe = softmax(logits)[safe:].sum()
    assert found.is_safe == (unsafe < least)
    assert found.confidence == pytest.approx(1 - unsafe if found.is_safe else unsafe, abs=1e-4)
    assert [label.name for label in found.scores] == list(NAMES[safe:])


def test_even_odds_are_unsafe() -> None:
    assert moderation(NAMES, np.zeros(6), safe=3).is_safe is False
    assert moderation(NAMES, np.array([9.0, 0, 0, 0, 0, 0]), safe=3).is_safe is True
    assert moderation(NAMES, np.array([0, 0, 0, 0, 0, 9.0]), safe=3).is_safe is False


@given(st.integers(0, 5), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_not_a_number_is_never_called_safe(place: int, value: float) -> None:
    logits = np.zeros(6)
    logits[0] = 100
    logits[place] = value
    with pytest.raises(ValueError, match="finite"):
        moderation(NAMES, logits, safe=3)
    with pytest.raises(ValueError, match="finite"):
        words(NAMES, logits, least=0.1)
