"""What the backend's consumers do to a result message.

The documents' Java takes `Map<String, String>` apart with `Long.parseLong`, `Boolean.parseBoolean`,
`Double.parseDouble` and JSON arrays in strings. These functions do the same and are as unforgiving.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from streamapp.contracts import streams as s

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
                raise AssertionError(other)
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


def parse(stream: str, data: Fields, dialect: str) -> None:
    """Take a message apart as a consumer of that dialect does; an assertion or ValueError where it cannot."""
    assert all(isinstance(value, str) for value in data.values())
    if stream in OF_ALL:
        OF_ALL[stream](data)
    elif dialect in CONSUMERS:
        CONSUMERS[dialect](stream, data)
