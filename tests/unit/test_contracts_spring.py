"""Everything written can be taken apart as the documents' Java does it."""

from __future__ import annotations

import struct

import pytest
import spring
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamapp.contracts import DIALECTS, write
from streamapp.contracts.examples import MEDIA, RESULTS, UNANSWERED
from streamapp.contracts.results import Result
from streamapp.events import MediaChanged, MediaView, Missing, PostChanged
from streamapp.insights import (
    SERVICES,
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Label,
    Moderation,
    SceneRecognition,
    Tagging,
    service_of,
)

# How long an example takes says something about the machine and its other work, nothing about the code.
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEWER = settings(STEADY, max_examples=40)
Fields = dict[str, str]


def consume(change: Result, dialect: str) -> None:
    for message in write(change, dialect=dialect):
        spring.parse(message.stream, message.fields, dialect)


NUMERIC = st.integers(0, 2**63 - 1).map(str)
WORD = st.text(max_size=20)
UNIT = st.floats(0, 1)
VECTOR = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8).map(
    lambda numbers: struct.pack(f"<{len(numbers)}f", *numbers)
)
LABELS = st.lists(st.builds(Label, name=WORD, score=UNIT), max_size=4).map(tuple)
PIXELS = st.integers(0, 5000)
FACE = st.builds(
    Face,
    bbox=st.tuples(PIXELS, PIXELS, PIXELS, PIXELS),
    confidence=UNIT,
    quality=st.none() | UNIT,
    embedding=st.none() | VECTOR,
)
COLOR = st.from_regex(r"\A#[0-9A-F]{6}\Z")
INSIGHTS: st.SearchStrategy[tuple[Insight, ...]] = st.tuples(
    st.none() | st.builds(Moderation, is_safe=st.booleans(), confidence=UNIT, scores=LABELS),
    st.none() | st.builds(Tagging, tags=LABELS),
    st.none() | st.builds(SceneRecognition, scenes=LABELS, colors=st.lists(COLOR, max_size=3).map(tuple)),
    st.none() | st.builds(ImageCaptioning, caption=WORD),
    st.none() | st.builds(ImageEmbedding, vector=VECTOR),
    st.none() | st.builds(FaceDetection, width=PIXELS, height=PIXELS, faces=st.lists(FACE, max_size=3).map(tuple)),
).map(lambda found: tuple(insight for insight in found if insight is not None))
OPTIONAL_ID = st.none() | NUMERIC


@st.composite
def media(draw: st.DrawFn, ids: st.SearchStrategy[str] = NUMERIC) -> MediaView:
    insights = draw(INSIGHTS)
    answered = {service_of(insight) for insight in insights}
    return MediaView(
        media_id=draw(ids),
        url="http://a",
        generation=draw(st.sampled_from(["1-0/pixel-1", "2-0/a:b%"])),
        correlation_id=draw(ids),
        insights=insights,
        models=dict.fromkeys(sorted(answered), "pixel-1"),
        missing=tuple(service for service in SERVICES if service not in answered),
        user_id=draw(st.none() | ids),
        job_id=draw(st.none() | ids),
        at=draw(st.integers(0, 4 * 10**12)),
    )


@st.composite
def changes(draw: st.DrawFn, ids: st.SearchStrategy[str] = NUMERIC) -> MediaChanged | PostChanged:
    view = draw(media(ids))
    if draw(st.booleans()):
        present = tuple(service_of(insight) for insight in view.insights)
        answered = draw(st.lists(st.sampled_from(present), unique=True)) if present else []
        return MediaChanged(
            post_id=draw(ids),
            revision=draw(st.integers(0, 2**40)),
            media=view,
            answered=tuple(answered),
            closed=draw(st.booleans()),
        )
    post = RESULTS["post"]
    assert isinstance(post, PostChanged)
    return PostChanged(
        post_id=draw(ids),
        revision=draw(st.integers(0, 2**40)),
        completeness=draw(st.sampled_from(["complete", "partial"])),
        summary=post.summary,
        media=(view, draw(media(ids))),
        at=view.at,
        correlation_id=view.correlation_id,
        missing=draw(st.sampled_from([(), (Missing(media_id="1"),)])),
        user_id=view.user_id,
        trigger=draw(st.sampled_from([None, "5-0"])),
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", RESULTS)
def test_the_examples_are_consumed(dialect: str, name: str) -> None:
    consume(RESULTS[name], dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@FEWER
@given(change=changes())
def test_everything_written_is_consumed(dialect: str, change: MediaChanged | PostChanged) -> None:
    consume(change, dialect)


def test_consumers_are_of_dialects_that_exist() -> None:
    assert set(spring.CONSUMERS) <= set(DIALECTS)


@pytest.mark.parametrize("broken", ["abc", "1.0", str(2**63), "", "\u0661"])
def test_the_helper_is_unforgiving(broken: str) -> None:
    with pytest.raises(AssertionError):
        spring.parse_long(broken)
    with pytest.raises(AssertionError):
        spring.parse_boolean("True")
    with pytest.raises(AssertionError):
        spring.parse_double("1e-07")


def test_fixed_media_are_what_the_names_say() -> None:
    assert not MEDIA.missing
    assert set(UNANSWERED.missing) == set(SERVICES)
