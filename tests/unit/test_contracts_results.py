"""Writing results: round trips, ids that stay what they are, result ids, and safety that fails closed."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_contracts_spring import VECTOR, changes

from streamapp.contracts import (
    DIALECTS,
    OUTBOUND,
    ContractError,
    FaceRecognised,
    ProfileEmbedded,
    read_result,
    refused,
    write,
)
from streamapp.contracts import streams as s
from streamapp.contracts.colors import NAMES, color_name
from streamapp.contracts.columns import VECTOR as VECTOR_KIND
from streamapp.contracts.columns import text
from streamapp.contracts.dialect import ADDITIONS, CARRIED
from streamapp.contracts.examples import MEDIA, RESULTS, UNANSWERED
from streamapp.contracts.views import media_changed_values, media_values, post_values
from streamapp.events import MediaChanged, MediaView, PostChanged, PostDeleted, ServiceFailed
from streamapp.ids import face_id, join
from streamapp.insights import SERVICES, ImageEmbedding, Label, Moderation, Service

# How long an example takes says something about the machine and its other work, nothing about the code.
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEWER = settings(STEADY, max_examples=40)
OPAQUE = ["007", "0", "550e8400-e29b-41d4-a716-446655440000", str(2**53 + 1), "a:b%", '{"a":1}', '"q"', "né"]
ANY_ID = st.sampled_from(OPAQUE) | st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
COMBINED = [name for name, dialect in DIALECTS.items() if dialect.combined]
SINGLE = [name for name in DIALECTS if name not in COMBINED]


def media_changed(media: MediaView = MEDIA, **changed: Any) -> MediaChanged:
    change = MediaChanged(post_id="1", revision=3, media=media, answered=SERVICES)
    return msgspec.structs.replace(change, **changed)


def with_insights(media: MediaView, *insights: Any) -> MediaView:
    return msgspec.structs.replace(media, insights=insights)


@pytest.mark.parametrize("dialect", DIALECTS)
@FEWER
@given(change=changes(ANY_ID))
def test_what_is_written_is_read_back(dialect: str, change: MediaChanged | PostChanged) -> None:
    values = media_changed_values(change) if isinstance(change, MediaChanged) else post_values(change)
    for message in write(change, dialect=dialect):
        assert set(message.fields.values()) == {value for value in message.fields.values() if isinstance(value, str)}
        back = read_result(message.stream, message.fields, dialect)
        for name in back.keys() - {"model", "service"}:
            assert same(back[name], message.result_id if name == "result_id" else values[name])
        assert message.key == change.post_id


def same(back: Any, value: Any) -> bool:
    """Equal in all that this dialect says: inside lists a dialect shows a part of the values."""
    if isinstance(back, tuple) and back and isinstance(back[0], dict):
        return len(back) == len(value) and all(
            each[name] == full[name] for each, full in zip(back, value, strict=True) for name in each
        )
    return bool(back == value)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("identifier", OPAQUE)
def test_ids_and_correlation_come_back_as_they_were(dialect: str, identifier: str) -> None:
    media = msgspec.structs.replace(
        MEDIA, media_id=identifier, user_id=identifier, job_id=identifier, correlation_id=identifier
    )
    messages = write(media_changed(media, post_id=identifier), dialect=dialect)
    assert {message.stream for message in messages} == {s.INSIGHTS, s.FACES}
    for message in messages:
        assert message.key == identifier
        for name in ("mediaId", "userId", "jobId", "correlationId"):
            assert message.fields[name] == identifier
        assert message.fields.get("postId", identifier) == identifier


@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_documented_carried_and_added_fields_are_written(dialect: str) -> None:
    form = DIALECTS[dialect]
    for result in RESULTS.values():
        for message in write(result, dialect=dialect):
            known = {c.wire for stream, columns in form.documented if stream == message.stream for c in columns}
            known |= {c.wire for c in form.columns(message.stream, service_in(message.fields, dialect))}
            assert message.fields.keys() <= known | ADDITIONS | {column.wire for column in CARRIED}
            assert message.fields["resultId"] == message.result_id


def service_in(fields: dict[str, str], dialect: str) -> str | None:
    name: str | None = DIALECTS[dialect].service.read(fields["service"]) if "service" in fields else None
    return name


@pytest.mark.parametrize("dialect", SINGLE)
def test_one_message_per_answered_service(dialect: str) -> None:
    answered: tuple[Service, ...] = ("tagging", "face_detection")
    media = msgspec.structs.replace(MEDIA, missing=("moderation",))
    messages = write(media_changed(media, answered=answered), dialect=dialect)
    assert [message.stream for message in messages] == [s.INSIGHTS, s.FACES]
    assert [message.result_id.split(":")[2] for message in messages] == list(answered)
    assert write(media_changed(media, answered=()), dialect=dialect) == []


def test_image_embeddings_are_written_where_the_document_has_room() -> None:
    change = media_changed(answered=("image_embedding",))
    assert [m.fields["imageEmbedding"] for m in write(change)] == ["[0.1,-0.25,0.3]"]
    assert write(change, dialect="message-formats") == []


def test_captioning_has_its_own_name_in_message_formats() -> None:
    [message] = write(media_changed(answered=("image_captioning",)), dialect="message-formats")
    assert message.fields["service"] == message.fields["serviceType"] == "captioning"
    assert read_result(message.stream, message.fields, "message-formats")["service"] == "image_captioning"


@pytest.mark.parametrize("dialect", COMBINED)
def test_combined_waits_until_all_is_known_or_closed(dialect: str) -> None:
    missing = msgspec.structs.replace(MEDIA, missing=("tagging",))
    assert write(media_changed(missing, answered=("moderation",)), dialect=dialect) == []
    assert [m.stream for m in write(media_changed(missing, closed=True), dialect=dialect)] == [s.INSIGHTS, s.FACES]
    assert [m.stream for m in write(media_changed(), dialect=dialect)] == [s.INSIGHTS, s.FACES]


@pytest.mark.parametrize("dialect", COMBINED)
def test_no_faces_are_claimed_where_nobody_looked(dialect: str) -> None:
    [message] = write(media_changed(UNANSWERED, closed=True), dialect=dialect)
    assert message.stream == s.INSIGHTS
    assert message.fields["completeness"] == "partial"
    assert [each["service"] for each in json.loads(message.fields["missing"])] == list(SERVICES)


def test_combined_always_has_all_fields() -> None:
    for dialect in COMBINED:
        [message] = write(media_changed(UNANSWERED, closed=True), dialect=dialect)
        full = write(media_changed(), dialect=dialect)[0]
        assert full.fields.keys() - {"userId", "model"} <= message.fields.keys()


@pytest.mark.parametrize(
    ("moderation", "expected"),
    [
        (None, (False, True, True)),
        (Moderation(is_safe=True, confidence=0.9), (True, False, False)),
        (Moderation(is_safe=False, confidence=0.9), (False, True, False)),
        (Moderation(is_safe=False, confidence=0.9, scores=(Label("Violence", 0.9),)), (False, False, True)),
        (
            Moderation(is_safe=False, confidence=0.9, scores=(Label("nsfw", 0.5), Label("gore", 0.6))),
            (False, True, True),
        ),
        (Moderation(is_safe=False, confidence=0.9, scores=(Label("violence", 0.1),)), (False, True, False)),
    ],
)
def test_safety_fails_closed(moderation: Moderation | None, expected: tuple[bool, bool, bool]) -> None:
    values = media_values(with_insights(MEDIA, *([moderation] if moderation else [])))
    assert (values["is_safe"], values["has_adult_content"], values["has_violent_content"]) == expected


@FEWER
@given(changes())
def test_nothing_unmoderated_is_written_as_safe(change: MediaChanged | PostChanged) -> None:
    if isinstance(change, MediaChanged):
        media = with_insights(change.media, *(i for i in change.media.insights if not isinstance(i, Moderation)))
        for message in write(msgspec.structs.replace(change, media=media, closed=True), dialect="integration-spec"):
            assert message.fields.get("isSafe", "false") == "false"


def test_result_ids_are_stable_and_tell_results_apart() -> None:
    first = {message.result_id for message in write(media_changed())}
    assert first == {m.result_id for m in write(media_changed(revision=99))}  # a replay at a later revision
    again = msgspec.structs.replace(MEDIA, generation="9-0/pixel-1")
    assert not first & {message.result_id for message in write(media_changed(again))}
    assert len(first) == len(SERVICES)


@pytest.mark.parametrize("dialect", COMBINED)
def test_a_combined_result_id_changes_with_what_is_said_and_only_then(dialect: str) -> None:
    def result_id(media: MediaView, revision: int = 3) -> str:
        return write(media_changed(media, revision=revision, closed=True), dialect=dialect)[0].result_id

    fewer = msgspec.structs.replace(MEDIA, insights=MEDIA.insights[:-1], missing=("face_detection",))
    later = msgspec.structs.replace(MEDIA, at=MEDIA.at + 5)
    assert result_id(fewer) != result_id(MEDIA)
    assert result_id(later, revision=7) == result_id(MEDIA)


def test_an_answer_to_a_trigger_has_its_own_result_id() -> None:
    post = RESULTS["post"]
    assert isinstance(post, PostChanged)
    triggers = (None, "1-0", "1-1")
    ids = [write(msgspec.structs.replace(post, trigger=trigger))[0].result_id for trigger in triggers]
    assert ids == [f"90001:{post.clock}:5{answer}" for answer in ("", ":1-0", ":1-1")]


def test_where_the_state_was_lost_a_post_sent_again_has_other_result_ids() -> None:
    post = RESULTS["post"]
    assert isinstance(post, PostChanged)
    first, again = (write(msgspec.structs.replace(post, clock=clock))[0].result_id for clock in ("5-0", "6-0"))
    assert first != again


@STEADY
@given(st.lists(st.text(":%3A", max_size=3), max_size=4), st.lists(st.text(":%3A", max_size=3), max_size=4))
@example([":"], ["%3A"])
@example(["a", "b"], ["a:b"])
def test_joined_ids_are_unambiguous(left: list[str], right: list[str]) -> None:
    if len(left) and len(right):
        assert (join(*left) == join(*right)) == (left == right)


def test_face_ids_follow_from_media_generation_and_index() -> None:
    assert face_id("7", "1-0", 0) == face_id("7", "1-0", 0)
    others = {face_id("7", "1-0", 1), face_id("8", "1-0", 0), face_id("7", "2-0", 0), face_id("7:1-0", "", 0)}
    assert len(others | {face_id("7", "1-0", 0)}) == 5
    assert all(len(each) == 36 for each in others)


def test_a_failure_is_one_error_per_service() -> None:
    failed = ServiceFailed(
        post_id="1",
        media_id="2",
        generation="g",
        services=("tagging", "image_captioning"),
        error="gone",
        at=5,
        correlation_id="c",
        job_id="j",
    )
    for dialect, names in (
        ("api-reference", ["tagging", "image_captioning"]),
        ("message-formats", ["tagging", "captioning"]),
    ):
        messages = write(failed, dialect=dialect)
        assert [message.fields["service"] for message in messages] == names
        assert {message.fields["status"] for message in messages} == {"FAILED"}
        assert {message.fields["jobId"] for message in messages} == {"j"}
        assert len({message.result_id for message in messages}) == 2


def test_a_deletion_has_no_message() -> None:
    assert write(PostDeleted(post_id="1", revision=2, media_ids=("2",))) == []


def test_people() -> None:
    recognised, profile = RESULTS["recognised"], RESULTS["profile"]
    assert isinstance(recognised, FaceRecognised)
    assert isinstance(profile, ProfileEmbedded)
    [message] = write(recognised)
    back = read_result(message.stream, message.fields)
    assert (back["recognised_id"], back["confidence"]) == (recognised.user_id, recognised.confidence)
    newer = msgspec.structs.replace(recognised, version=2)
    assert write(newer)[0].result_id != message.result_id
    [message] = write(profile)
    assert message.key == profile.user_id
    assert read_result(message.stream, message.fields)["vector"] == profile.embedding


def test_a_refused_message_is_answered_where_an_id_can_be_found() -> None:
    error = ContractError(s.IMAGES, "mediaUrl", "nothing", "a URL")
    message = refused(error, {"postId": "007", "mediaId": "2", "correlationId": '"c"'}, "5-0")
    assert message is not None
    assert (message.stream, message.key) == (s.ERRORS, "007")
    assert message.fields == {
        "correlationId": '"c"',
        "error": str(error),
        "status": "FAILED",
        "postId": "007",
        "mediaId": "2",
        "resultId": message.result_id,
    }
    assert refused(error, {"postId": "\x00", "x": "y"}, "5-0") is None
    derived = refused(error, {"userId": "5"}, "5-0")
    assert derived is not None
    assert derived.fields["correlationId"] == f"{s.IMAGES}:5-0"
    assert derived.result_id == message.result_id  # of the entry, whatever was found in it


@STEADY
@given(VECTOR)
@example(struct.pack("<2f", 3.4028234663852886e38, 1e-45))
def test_vectors_are_exact(vector: bytes) -> None:
    written = text(VECTOR_KIND.write(vector))
    assert VECTOR_KIND.read(json.loads(written)) == vector


def test_vectors_are_as_short_as_float32_allows() -> None:
    assert text(VECTOR_KIND.write(struct.pack("<3f", 0.1, -1 / 3, 100.0))) == "[0.1,-0.33333334,100.0]"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_not_written(bad: float) -> None:
    change = media_changed(with_insights(MEDIA, ImageEmbedding(vector=struct.pack("<f", bad))))
    with pytest.raises(ValueError, match="finite"):
        write(change, dialect="integration-spec")
    change = media_changed(with_insights(MEDIA, Moderation(is_safe=True, confidence=bad)), answered=("moderation",))
    with pytest.raises(ValueError, match="no number"):
        write(change)


@pytest.mark.parametrize(("number", "expected"), [(1e-07, "0.0000001"), (0.95, "0.95"), (1.0, "1.0"), (3, "3")])
def test_numbers_are_plain_decimals(number: float, expected: str) -> None:
    assert text(number) == expected


def test_an_unknown_dialect_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="integration-spec"):
        write(RESULTS["media"], dialect="esperanto")


@pytest.mark.parametrize(
    ("stream", "fields", "field"),
    [
        (s.INSIGHTS, {"service": "dancing"}, "service"),
        (s.INSIGHTS, {}, "service"),
        ("other", {}, "service"),
        (s.INSIGHTS, {"service": "tagging", "tags": "beach"}, "tags"),
        (s.INSIGHTS, {"service": "moderation", "isSafe": "True"}, "isSafe"),
        (s.FACES, {"faces": '[{"bbox":"[1,2]"}]'}, "faces"),
        (s.FACES, {"faces": '[{"embedding":[1e400]}]'}, "faces"),
        (s.FACES, {"facesDetected": "1.5"}, "facesDetected"),
    ],
)
def test_a_result_in_another_form_is_refused(stream: str, fields: dict[str, str], field: str) -> None:
    with pytest.raises(ContractError) as caught:
        read_result(stream, fields)
    assert caught.value.field == field


WIRES = sorted({c.wire for d in DIALECTS.values() for _, columns in d.documented for c in columns} | ADDITIONS)
SCRAPS = st.sampled_from(["[1e400]", "[" * 5000, "NaN", '[{"bbox":1}]', "tagging", "[null]", "9" * 5000, "{}"])


@STEADY
@given(
    st.sampled_from(OUTBOUND),
    st.sampled_from(sorted(DIALECTS)),
    st.dictionaries(st.sampled_from(WIRES), SCRAPS | st.text(st.characters(exclude_categories=()))),
)
def test_reading_results_is_total(stream: str, dialect: str, fields: dict[str, str]) -> None:
    with contextlib.suppress(ContractError):
        assert read_result(stream, fields, dialect) is not None


@pytest.mark.parametrize(
    ("color", "name"),
    [("#000000", "black"), ("#0000FF", "blue"), ("#ff0000", "red"), ("#FFFFFF", "white"), ("teal", "teal")],
)
def test_color_names(color: str, name: str) -> None:
    assert color_name(color) == name


def test_every_named_color_is_itself() -> None:
    for name, rgb in NAMES.items():
        assert color_name(f"#{np.array(rgb, dtype='u1').tobytes().hex()}") == name
