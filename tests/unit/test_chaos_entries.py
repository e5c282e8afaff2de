"""What the streams say, read from messages as the product writes them."""

from __future__ import annotations

from msgspec.structs import replace

from chaos import entries
from chaos.entries import Answer, Entries, Slot
from streamapp.contracts import write
from streamapp.contracts.examples import ENTRY_ID, MEDIA, RESULTS
from streamapp.contracts.streams import ENRICHED, ERRORS, FACES, INSIGHTS
from streamapp.events import Change, MediaChanged, PostChanged, ServiceFailed
from streamapp.insights import SERVICES

ASKED = int(ENTRY_ID.split("-")[0])
MEDIA_KEY = ("90001", "70001")
CLOCKS = {MEDIA_KEY: ENTRY_ID}


def answered() -> MediaChanged:
    change = RESULTS["media"]
    assert isinstance(change, MediaChanged)
    return change


def failed() -> ServiceFailed:
    return ServiceFailed(
        post_id="90001",
        media_id="70001",
        generation=MEDIA.generation,
        services=("tagging",),
        error="404",
        at=ASKED,
        correlation_id="c",
    )


def streams(*changes: Change, begin: int = ASKED) -> dict[str, Entries]:
    """The entries of these changes, one each millisecond from `begin` on."""
    found: dict[str, list[tuple[str, dict[str, str]]]] = {stream: [] for stream in entries.STREAMS}
    messages = [message for change in changes for message in write(change)]
    for at, message in enumerate(messages, begin):
        found[message.stream].append((f"{at}-0", message.fields))
    return dict(found)


def test_answers_are_read_from_result_ids() -> None:
    found = streams(answered(), failed())
    said = [entries.answer(stream, fields) for stream, those in found.items() for _, fields in those]
    slots = [Slot(*MEDIA_KEY, service) for service in SERVICES]
    assert {each for each in said if each is not None} == {
        *(Answer(slot, ENTRY_ID, failed=False) for slot in slots),
        Answer(Slot(*MEDIA_KEY, "tagging"), ENTRY_ID, failed=True),
    }


def test_ids_with_separators_are_read_back() -> None:
    (message,) = write(ServiceFailed(**{**_values(failed()), "post_id": "a:b%3A"}))  # type: ignore[arg-type]
    said = entries.answer(ERRORS, message.fields)
    assert said is not None
    assert said.slot.post == "a:b%3A"


def test_what_is_no_answer_of_a_service_is_none() -> None:
    (message,) = write(RESULTS["post"])
    assert entries.answer(ENRICHED, message.fields) is None
    assert entries.answer(ERRORS, {"resultId": "refused:post-image-processing:1-0"}) is None
    assert entries.answer(INSIGHTS, {}) is None


def test_of_two_requests_the_greater_entry_id_counts() -> None:
    fields = {"postId": "7", "mediaId": "71"}
    assert entries.newest([("9-0", fields), ("10-2", fields), ("10-1", fields)]) == {("7", "71"): "10-2"}
    assert len(entries.wanted({("7", "71"): "", ("7", "72"): ""})) == 2 * len(SERVICES)


def test_only_answers_to_the_newest_request_are_the_outcome() -> None:
    found = entries.answers(streams(answered()), CLOCKS)
    assert found.keys() == entries.wanted(CLOCKS)
    assert entries.answers(streams(answered()), {MEDIA_KEY: f"{ASKED + 1}-0"}) == {}


def test_what_differs_between_runs_is_left_out_and_nothing_else() -> None:
    again = replace(answered(), revision=9, media=replace(MEDIA, at=ASKED + 5))
    one, other = entries.answers(streams(answered()), CLOCKS), entries.answers(streams(again), CLOCKS)
    assert one == other
    faces = one[Slot(*MEDIA_KEY, "face_detection")]
    assert "faceId" not in faces["faces"]
    assert "embedding" in faces["faces"]
    assert faces["stream"] == FACES
    tags = one[Slot(*MEDIA_KEY, "tagging")]
    assert tags["tags"]
    assert not tags.keys() & entries.IGNORED_IN_RESULTS


def test_an_answer_and_a_failure_of_the_same_request_show() -> None:
    found = entries.answers(streams(answered(), failed()), CLOCKS)
    assert found[Slot(*MEDIA_KEY, "tagging")]["stream"] == f"{ERRORS} {INSIGHTS}"


def test_the_last_payload_is_the_final_one() -> None:
    change = RESULTS["post"]
    assert isinstance(change, PostChanged)
    later = replace(change, revision=6, completeness="complete")
    (final,) = entries.final(streams(change, later)[ENRICHED]).values()
    assert final["completeness"] == "complete"
    assert final["correlationId"] == change.correlation_id
    assert not final.keys() & entries.IGNORED


def test_a_result_id_that_comes_twice_is_doubled() -> None:
    assert entries.doubled(streams(answered(), failed(), RESULTS["post"])) == []  # type: ignore[arg-type]
    twice = entries.doubled(streams(failed(), failed()))
    assert len(twice) == 1
    assert ERRORS in twice[0]
    assert "2 times" in twice[0]


def test_recovery_is_counted_from_the_kill() -> None:
    found = streams(answered(), begin=ASKED + 4000)  # six entries, one each millisecond
    assert entries.recovery(found, ASKED + 1000) == (3.0, 3.005)
    assert entries.recovery(found, ASKED - 1) == (4.001, None)  # asked for after the kill
    assert entries.recovery(found, ASKED + 5000) == (None, None)


def _values(change: ServiceFailed) -> dict[str, object]:
    return {name: getattr(change, name) for name in change.__struct_fields__}
