"""What the backend's consumers do to a result message, applied to everything written.

The documents' Java takes `Map<String, String>` apart with `Long.parseLong`, `Boolean.parseBoolean`,
`Double.parseDouble` and JSON arrays in strings. These functions do the same and are as unforgiving.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamapp.contracts import DIALECTS, write
from streamapp.contracts import streams as s
from streamapp.contracts.examples import MEDIA, RESULTS, UNANSWERED
from streamapp.contracts.results import Result
from streamapp.events import (
    SERVICES,
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Label,
    MediaChanged,
    MediaView,
    Missing,
    Moderation,
    PostChanged,
    SceneRecognition,
    Tagging,
    service_of,
)

# How long an example takes says something about the machine and its other work, nothing about the code.
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEWER = settings(STEADY, max_examples=40)
Fields = dict[str, str]


def parse_long(text: str) -> int:
    assert re.fullmatch(r"[+-]?[0-9]{1,19}", text), text
    assert -(2**63) <= int(text) < 2**63
    return int(text)


def parse_boolean(text: str) -> bool:
    assert text in ("true", "false"), text  # Java takes anything else for false without a word
    return text == "true"


def parse_double(text: str) -> float:
    assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text), text
    return float(text)


def parse_json_array(text: str) -> list[Any]:
    value = json.loads(text)
    assert isinstance(value, list)
    return value


def parse_texts(text: str) -> list[str]:
    values = parse_json_array(text)
    assert all(isinstance(value, str) for value in values)
    return values


def parse_vector(value: Any) -> list[float]:
    assert isinstance(value, list)
    assert all(isinstance(number, float) for number in value)
    return value


def parse_instant(text: str) -> str:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text), text
    return text


def number(value: Any) -> None:
    assert isinstance(value, int | float)
    assert not isinstance(value, bool)


def box(value: Any) -> None:
    assert isinstance(value, list)
    assert len(value) == 4
    for part in value:
        number(part)


def api_reference(stream: str, data: Fields) -> None:
    parse_long(data["postId"])
    parse_instant(data["timestamp"])
    if stream == s.INSIGHTS:
        parse_long(data["mediaId"])
        match data["service"]:
            case "moderation":
                parse_boolean(data["isSafe"])
                parse_double(data["moderationConfidence"])
            case "tagging":
                parse_texts(data["tags"])
            case "scene_recognition":
                parse_texts(data["scenes"])
            case "image_captioning":
                assert "caption" in data
            case "image_embedding":
                parse_vector(json.loads(data["imageEmbedding"]))
            case other:
                pytest.fail(other)
    elif stream == s.FACES:
        faces = parse_json_array(data["faces"])
        assert len(faces) == parse_long(data["facesDetected"])
        for face in faces:
            assert isinstance(face["faceId"], str)
            box(face["bbox"])
            number(face["confidence"])
            assert face["embedding"] is None or parse_vector(face["embedding"])
    elif stream == s.ENRICHED:
        enriched(data)


def enriched(data: Fields) -> None:
    parse_long(data["mediaCount"])
    parse_long(data["totalFaces"])
    for name in ("allAiTags", "allAiScenes", "aggregatedTags", "aggregatedScenes"):
        parse_texts(data[name])
    parse_boolean(data["isSafe"])
    parse_boolean(data["hasMultipleImages"])
    parse_double(data["moderationConfidence"])
    assert data.keys() >= {"inferredEventType", "combinedCaption", "correlationId"}


def message_formats(stream: str, data: Fields) -> None:
    parse_long(data["timestamp"])
    assert "postId" in data
    if stream in (s.INSIGHTS, s.FACES):
        assert data["jobId"]
        assert "mediaId" in data
    if stream == s.INSIGHTS:
        results = json.loads(data["results"])
        service = data["serviceType"]
        assert service == data["service"]
        assert service in ("moderation", "tagging", "scene_recognition", "captioning")
        flat = {name: json.loads(data[name]) if name != "caption" else data[name] for name in results}
        assert flat == results
        assert set(results) <= {"isSafe", "moderationConfidence", "tags", "scenes", "caption"}
    elif stream == s.FACES:
        for face in parse_json_array(data["faces"]):
            box(json.loads(face["bbox"]))
            box(face["boundingBox"])
            parse_double(face["confidence"])
            assert face["embedding"] is None or parse_vector(json.loads(face["embedding"]))
    elif stream == s.ENRICHED:
        assert parse_long(data["totalMediaCount"]) == parse_long(data["mediaCount"])
        assert parse_long(data["totalFaceCount"]) == parse_long(data["totalFaces"])
        parse_texts(data["aggregatedTags"])
        assert "eventType" in data
        parse_boolean(data["isSafe"])
        for media in parse_json_array(data["mediaInsights"]):
            assert isinstance(media["mediaId"], str)
            assert isinstance(media["isSafe"], bool)
            assert isinstance(media["faceCount"], int)
            number(media["confidenceScore"])
            assert isinstance(media["tags"], list)


def integration_spec(stream: str, data: Fields) -> None:
    parse_long(data["postId"])
    parse_instant(data["timestamp"])
    if stream == s.INSIGHTS:
        parse_long(data["mediaId"])
        parse_boolean(data["isSafe"])
        assert "caption" in data
        for name in ("tags", "scenes", "dominantColors"):
            parse_texts(data[name])
        parse_vector(json.loads(data["imageEmbedding"]))
        for score in json.loads(data["confidenceScores"]).values():
            number(score)
    elif stream == s.FACES:
        faces = parse_json_array(data["faces"])
        assert len(faces) == parse_long(data["facesDetected"])
        for face in faces:
            x1, y1, x2, y2 = face["bbox"]
            assert x1 <= x2
            assert y1 <= y2
            number(face["confidence"])
            assert face["embedding"] is None or parse_vector(json.loads(face["embedding"]))
    elif stream == s.ENRICHED:
        for name in ("allAiTags", "allAiScenes", "inferredTags"):
            parse_texts(data[name])
        parse_double(data["confidence"])
        assert data.keys() >= {"inferredEventType", "inferredLocationType"}


def backend_dto(stream: str, data: Fields) -> None:
    assert data["correlationId"]
    if stream == s.INSIGHTS:
        parse_long(data["mediaId"])
        for name in ("detectedObjects", "scenes", "colors"):
            parse_texts(data[name])
        parse_boolean(data["hasAdultContent"])
        parse_boolean(data["hasViolentContent"])
        assert not data.keys() & {"qualityScore", "dominantEmotion"}
    elif stream == s.FACES:
        parse_long(data["mediaId"])
        for face in parse_json_array(data["faces"]):
            number(face["confidence"])
            for name in ("X", "Y", "Width", "Height"):
                assert isinstance(face[f"boundingBox{name}"], float)
            assert not face.keys() & {"estimatedAge", "estimatedGender", "dominantEmotion"}
    elif stream == s.ENRICHED:
        enriched(data)


CONSUMERS: dict[str, Callable[[str, Fields], None]] = {
    "api-reference": api_reference,
    "message-formats": message_formats,
    "integration-spec": integration_spec,
    "backend-dto": backend_dto,
}


def check_error(data: Fields) -> None:
    assert data["status"] == "FAILED"
    assert data["error"]
    assert data["correlationId"]


def check_profile(data: Fields) -> None:
    parse_long(data["userId"])
    parse_vector(json.loads(data["faceEmbedding"]))


def check_recognition(data: Fields) -> None:
    parse_double(data["confidenceScore"])
    assert data.keys() >= {"postId", "mediaId", "faceId", "suggestedUserId", "matchedUsername", "correlationId"}


OF_ALL: dict[str, Callable[[Fields], None]] = {
    s.ERRORS: check_error,
    s.RECOGNITIONS: check_recognition,
    s.PROFILE_EMBEDDINGS: check_profile,
}


def consume(change: Result, dialect: str) -> None:
    for message in write(change, dialect=dialect):
        assert all(isinstance(value, str) for value in message.fields.values())
        if message.stream in OF_ALL:
            OF_ALL[message.stream](message.fields)
        elif dialect in CONSUMERS:
            CONSUMERS[dialect](message.stream, message.fields)


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
    assert set(CONSUMERS) <= set(DIALECTS)


@pytest.mark.parametrize("broken", ["abc", "1.0", str(2**63), "", "\u0661"])
def test_the_helper_is_unforgiving(broken: str) -> None:
    with pytest.raises(AssertionError):
        parse_long(broken)
    with pytest.raises(AssertionError):
        parse_boolean("True")
    with pytest.raises(AssertionError):
        parse_double("1e-07")


def test_fixed_media_are_what_the_names_say() -> None:
    assert not MEDIA.missing
    assert set(UNANSWERED.missing) == set(SERVICES)
