from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from world import (
    POLICY,
    START,
    World,
    answered,
    failed,
    recheck,
    recognised,
    registered,
    shuffled,
    ticked,
    triggered,
)

from streamapp.contracts.results import recognitions
from streamapp.events import (
    Event,
    Failed,
    MediaChanged,
    PostChanged,
    PostDeleted,
    Recognition,
    ServiceFailed,
    Task,
    Updated,
    encode,
)
from streamapp.insights import (
    KINDS,
    SERVICES,
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Kind,
    Label,
    Moderation,
    SceneRecognition,
    Tagging,
)
from streamapp.posts.brief import said
from streamapp.posts.expected import removed
from streamapp.posts.story import story

MANY = 2_000 if settings.get_current_profile_name() == "thorough" else 100  # `make test-all` is thorough


def test_a_registration_asks_each_kind_once() -> None:
    world = World()
    world.tell(registered("201"))
    assert {task.kind: task.services for task in world.tasks} == KINDS
    assert all(task.attempt == 1 and task.generation == "1-0/pixel-1" for task in world.tasks)


def test_all_answered_and_triggered_is_complete_at_once() -> None:
    world = World()
    world.tell(registered("201"), registered("202"), triggered("201", "202"))
    world.answer_all()
    (payload,) = world.payloads
    assert payload.completeness == "complete"
    assert payload.summary.media_count == 2
    assert payload.correlation_id == "c-trigger"
    assert payload.missing == ()
    assert world.open is None


def test_without_a_trigger_a_post_is_whole_when_quiet() -> None:
    world = World()
    world.tell(registered("201"))
    world.answer_all()
    assert world.payloads == []
    world.tell(ticked(4.9))
    assert world.payloads == []
    world.tell(ticked(5.0))
    assert [p.completeness for p in world.payloads] == ["complete"]
    assert world.payloads[0].correlation_id == "c-201"


def test_a_late_media_reopens_a_quiet_post() -> None:
    world = World()
    world.tell(registered("201"))
    world.answer_all()
    world.tell(ticked(5), registered("202", clock=9, at=START + 6_000))
    assert world.open is not None
    world.answer_all()
    assert len(world.payloads) == 1
    world.tell(ticked(11))
    assert world.payloads[-1].summary.media_ids == ("201", "202")


def test_trigger_after_everything_answers_with_its_clock() -> None:
    world = World()
    world.tell(registered("201"))
    world.answer_all()
    world.tell(triggered("201"))
    assert [p.trigger for p in world.payloads] == ["50-0"]
    world.tell(triggered("201"))  # redelivered: the same answer
    assert encode(world.payloads[0]) == encode(world.payloads[1])
    world.tell(triggered("201", clock=51))  # repeated by the backend: an answer of its own
    assert world.payloads[2].trigger == "51-0"
    assert world.payloads[2].revision > world.payloads[1].revision


def test_what_the_backend_knows_to_be_unsafe_is_unsafe() -> None:
    world = World()
    world.tell(registered("201"), replace(triggered("201"), unsafe=("201",)))
    world.answer_all()
    assert world.payloads[-1].summary.is_safe is False
    assert world.payloads[-1].summary.has_unsafe_media is True


def test_without_a_correlation_id_of_its_own_the_aggregate_has_that_of_the_first_image() -> None:
    world = World()
    world.tell(registered("202", clock=2), registered("201", clock=1))
    world.tell(replace(triggered("201", "202"), correlation_id=None))
    world.answer_all()
    assert world.payloads[-1].correlation_id == "c-201"


def test_facts_that_say_nothing_new_do_not_give_the_aggregate_another_id() -> None:
    world = World()
    world.tell(registered("201"))
    world.answer_all()
    world.tell(triggered("201"), registered("201"), answered(world.tasks[0]), ticked(1))
    assert len({(p.revision, p.trigger) for p in world.payloads}) == 1
    assert len({encode(p) for p in world.payloads}) == 1


def test_an_answer_for_a_media_of_before_the_deletion_is_ignored() -> None:
    world = World()
    world.tell(registered("201"))
    late = world.tasks[0]
    world.tell(Updated(post_id="100", clock="10-0", at=START, correlation_id="u", deleted=True))
    world.tell(registered("202", clock=11))
    folded = world.tell(answered(late))
    assert folded.changes == ()
    assert folded.media == {}


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_deletion_ends_the_same_in_any_order(order: tuple[int, int, int]) -> None:
    deleted = Updated(post_id="100", clock="10-0", at=START, correlation_id="u", deleted=True)
    facts = (registered("201", clock=5), deleted, registered("202", clock=11))
    world = World()
    world.tell(*(facts[n] for n in order))
    assert world.post is not None
    assert list(world.post.media) == ["202"]
    assert world.post.deleted is None


def test_trigger_with_a_total_waits_for_that_many() -> None:
    world = World()
    world.tell(registered("201"), triggered(total=2))
    world.answer_all()
    assert world.payloads == []
    world.tell(registered("202", clock=2))
    world.answer_all()
    assert world.payloads[-1].completeness == "complete"


def test_deadline_gives_what_there_is_and_names_the_rest() -> None:
    world = World()
    world.tell(registered("201"), registered("202"), triggered("201", "202", "203"))
    world.answer_all(but=("202",))
    assert world.open is not None
    assert world.open.due == START + 120_000
    world.tell(ticked(120))
    (payload,) = world.payloads
    assert payload.completeness == "partial"
    assert {(m.media_id, m.service) for m in payload.missing} == {("202", s) for s in SERVICES} | {("203", None)}
    assert payload.summary.is_safe is False  # 202 was never moderated
    assert [c.media.media_id for c in world.changes if isinstance(c, MediaChanged) and c.closed] == [
        "201",
        "202",
    ] or any(isinstance(c, MediaChanged) and c.closed and c.media.media_id == "202" for c in world.changes)


def test_a_late_answer_corrects_the_partial_one() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    late = world.tasks.pop()
    world.answer_all()
    world.tell(ticked(120))
    world.tell(answered(late))
    assert [p.completeness for p in world.payloads] == ["partial", "complete"]
    assert world.payloads[1].revision > world.payloads[0].revision
    assert world.open is None


def test_failed_attempts_are_issued_again_when_due_then_failed_for_good() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    *others, task = world.tasks
    for other in others:
        world.tell(answered(other))
    world.tell(failed(task, at=START + 1_000))
    assert world.open is not None
    assert world.open.due == START + 3_000
    assert world.tell(ticked(2.9)).tasks == ()
    (second,) = world.tell(ticked(3)).tasks
    assert (second.attempt, second.services) == (2, task.services)
    world.tell(failed(second, at=START + 4_000))
    (third,) = world.tell(ticked(8)).tasks
    folded = world.tell(failed(third, at=START + 9_000, error="still gone"))
    (error,) = [c for c in folded.changes if isinstance(c, ServiceFailed)]
    assert (error.services, error.error) == (task.services, "still gone")
    (payload,) = world.payloads
    assert payload.completeness == "partial"
    assert payload.missing[0].reason == "failed for good after 3 attempts: still gone"
    assert world.open is None


def test_permanent_failure_needs_no_further_attempt() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    for task in list(world.tasks):
        world.tell(failed(task, permanent=True))
    assert [p.completeness for p in world.payloads] == ["partial"]
    assert sum(isinstance(c, ServiceFailed) for c in world.changes) == 3


def test_the_same_failure_told_twice_counts_once() -> None:
    world = World()
    world.tell(registered("201"))
    world.tell(failed(world.tasks[0]), failed(world.tasks[0]))
    assert world.media["201"].detail("moderation").failures == 1


def test_an_answer_after_failing_for_good_is_a_correction() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    for task in list(world.tasks):
        world.tell(failed(task, permanent=True))
    world.answer_all()
    assert world.payloads[-1].completeness == "complete"


def test_a_second_answer_of_a_generation_changes_nothing() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    world.answer_all()
    before, revision = encode(world.payloads[-1]), world.payloads[-1].revision
    other = answered(world.tasks[0], at=START + 9_999, safe=False)
    world.tell(other)
    assert encode(world.payloads[-1]) == before
    assert world.payloads[-1].revision == revision


def test_a_newer_registration_asks_again_and_older_answers_are_ignored() -> None:
    world = World()
    world.tell(registered("201"))
    old = world.tasks[0]
    world.tell(registered("201", url="http://images/new.jpg", clock=7))
    assert world.tasks[-1].url == "http://images/new.jpg"
    assert world.tell(answered(old)).ignored is not None
    assert world.tell(registered("201", clock=3)).ignored == "this registration, or a newer one, is known"
    assert world.media["201"].brief.clock == "7-0"


def test_an_answer_for_what_was_never_registered_is_ignored() -> None:
    world = World()
    world.tell(registered("201"))
    stray = replace(answered(world.tasks[0]), media_id="999")
    assert world.tell(stray).ignored == "the media is not registered"


def test_replayed_registration_issues_only_what_is_still_out() -> None:
    world = World()
    world.tell(registered("201"))
    world.tell(answered(world.tasks[0]))
    folded = world.tell(registered("201"))
    assert {task.kind for task in folded.tasks} == {"captions", "faces"}


def test_replayed_tick_issues_its_attempts_again() -> None:
    world = World()
    world.tell(registered("201"))
    world.tell(failed(world.tasks[0]))
    first = world.tell(ticked(3)).tasks
    assert len(first) == 1
    world.position -= 1
    assert world.tell(ticked(3)).tasks == first
    assert world.tell(ticked(4)).tasks == ()


def test_media_added_after_the_trigger_belong_to_the_post() -> None:
    world = World()
    world.tell(registered("201"), triggered("201", clock=5))
    world.answer_all()
    world.tell(registered("202", clock=6))
    world.answer_all()
    assert world.payloads[-1].summary.media_ids == ("201", "202")
    world.tell(triggered("202", clock=9))  # the newest request names the set
    assert world.payloads[-1].media[0].media_id == "202"
    assert len(world.payloads[-1].media) == 1


def test_an_update_changes_the_set_of_media() -> None:
    world = World()
    world.tell(registered("201"), registered("202"), triggered("201", "202"))
    world.answer_all()
    update = Updated(post_id="100", clock="60-0", at=START, correlation_id="u", media_ids=("202",))
    world.tell(update)
    assert world.payloads[-1].summary.media_ids == ("202",)


def test_deletion_and_posting_again() -> None:
    world = World()
    world.tell(registered("201"))
    gone = world.tell(Updated(post_id="100", clock="60-0", at=START, correlation_id="u", deleted=True))
    assert gone.changes == (PostDeleted(post_id="100", revision=2, media_ids=("201",)),)
    assert gone.open is None
    assert world.tell(answered(world.tasks[0])).ignored == "the post was deleted"
    assert world.tell(registered("205", clock=59)).ignored == "the post was deleted later"
    world.tell(registered("206", clock=61))
    assert world.post is not None
    assert list(world.post.media) == ["206"]
    assert world.post.deleted is None


def update(clock: int, *media_ids: str) -> Updated:
    return Updated(post_id="100", clock=f"{clock}-0", at=START, correlation_id="u", media_ids=media_ids)


def test_media_that_an_update_took_out_leave_their_rows_and_come_back() -> None:
    world = World()
    world.tell(registered("201"), registered("202"), triggered("201", "202"))
    world.answer_all(but=("202",))
    late = [task for task in world.tasks if task.media_id == "202"]
    rows = world.tell(update(60, "201")).rows
    assert [(row.media.media_id, row.removed) for row in rows] == [("201", False), ("202", True)]
    assert world.payloads[-1].completeness == "complete"  # what left is not awaited
    assert world.open is None
    (change,) = [c for c in world.tell(answered(late[0])).changes if isinstance(c, MediaChanged)]
    assert change.removed  # an answer that was under way brings no row back
    rows = world.tell(update(61, "201", "202")).rows
    assert [row.removed for row in rows] == [False, False]
    assert world.open is not None
    for task in late[1:]:
        world.tell(answered(task))
    assert world.payloads[-1].summary.media_ids == ("201", "202")


def test_a_post_that_an_update_left_without_media_is_complete_and_empty() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    world.answer_all()
    rows = world.tell(update(60)).rows
    assert [row.removed for row in rows] == [True]
    assert (world.payloads[-1].summary.media_count, world.payloads[-1].completeness) == (0, "complete")
    assert world.payloads[-1].summary.is_safe is False
    assert world.open is None


def test_an_update_of_the_text_has_every_row_read_again() -> None:
    world = World()
    world.tell(registered("201"), registered("202"), triggered("201", "202"))
    world.answer_all()
    changed = Updated(post_id="100", clock="60-0", at=START, correlation_id="u")
    folded = world.tell(changed)
    assert [(row.media.media_id, row.removed) for row in folded.rows] == [("201", False), ("202", False)]
    assert [type(change) for change in folded.changes] == [PostChanged]
    assert world.tell(replace(changed, clock="59-0")).rows == ()  # an older one says nothing


def test_what_was_asked_before_the_deletion_does_not_count_after_it() -> None:
    asked = triggered("201", "202", clock=50)
    deleted = Updated(post_id="100", clock="60-0", at=START, correlation_id="u", deleted=True)
    for order in ((asked, deleted), (deleted, asked)):
        world = World()
        world.tell(registered("201"), *order, registered("203", clock=61))
        world.answer_all(but=("201",))
        world.tell(ticked(5))
        assert [p.completeness for p in world.payloads] == ["complete"]
        assert world.payloads[-1].summary.media_ids == ("203",)


def test_an_update_of_the_text_keeps_the_media_of_the_update_before_it_in_any_order() -> None:
    text = Updated(post_id="100", clock="61-0", at=START, correlation_id="u")
    for order in ((update(60, "201"), text), (text, update(60, "201"))):
        world = World()
        world.tell(registered("201"), registered("202"), triggered("201", "202"), *order)
        world.answer_all()
        assert world.payloads[-1].summary.media_ids == ("201",)
        assert world.post is not None
        assert removed(world.post) == {"202"}


def test_a_deletion_counts_after_a_newer_update_too() -> None:
    deleted = Updated(post_id="100", clock="60-0", at=START, correlation_id="u", deleted=True)
    text = Updated(post_id="100", clock="65-0", at=START, correlation_id="u")
    for order in ((deleted, text), (text, deleted)):
        world = World()
        world.tell(registered("201"), *order)
        assert world.post is not None
        assert world.post.deleted == "60-0"
        assert isinstance(world.changes[-1], PostDeleted)


def test_what_one_trigger_knew_to_be_unsafe_stays_so() -> None:
    unsafe, silent = replace(triggered("201", clock=50), unsafe=("201",)), triggered("201", clock=60)
    for order in ((unsafe, silent), (silent, unsafe)):
        world = World()
        world.tell(registered("201"), *order)
        world.answer_all()
        assert world.payloads[-1].summary.is_safe is False


def test_the_rows_of_media_that_a_trigger_holds_unsafe_say_so_whenever_it_comes() -> None:
    unsafe = replace(triggered("201", "202"), unsafe=("201",))
    early, late = World(), World()
    early.tell(registered("201"), unsafe, registered("202", clock=9))
    early.answer_all()
    late.tell(registered("201"), registered("202", clock=9))
    late.answer_all()
    late.tell(unsafe)
    for world in (early, late):
        told = {row.media.media_id: row.media.unsafe for row in world.told if isinstance(row, MediaChanged)}
        assert told == {"201": True, "202": False}


def test_a_total_alone_does_not_bring_removed_media_back() -> None:
    world = World()
    world.tell(registered("201"), registered("202"), update(60, "201"), triggered(clock=70, total=1))
    world.answer_all()
    assert world.payloads[-1].summary.media_ids == ("201",)
    world.tell(triggered(clock=80, total=2))
    assert world.open is not None  # one more is announced


def test_repeated_triggers_do_not_put_the_timeout_off() -> None:
    world = World()
    world.tell(registered("201"), triggered("201", "202"))
    for n in range(1, 4):
        world.tell(triggered("201", "202", clock=50 + n, at=START + n * 60_000))
    world.tell(ticked(120))
    assert [p.completeness for p in world.payloads] == ["partial"]
    world.tell(triggered("201", "202", clock=60, at=START + 121_000))
    assert world.payloads[-1].trigger == "60-0"  # answered at once with what there is


def test_a_trigger_of_media_never_registered_is_answered_in_the_end() -> None:
    world = World()
    world.tell(triggered("201"), ticked(120))
    (payload,) = world.payloads
    assert (payload.completeness, payload.summary.media_count, payload.summary.is_safe) == ("partial", 0, False)
    assert [lack.media_id for lack in payload.missing] == ["201"]
    assert world.open is None


def test_time_alone_changes_no_payload_and_writes_no_row() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    world.tell(failed(world.tasks[0], at=START + 119_000), ticked(120), ticked(121.5))
    assert len({encode(p) for p in world.payloads}) == 1
    assert world.tell(ticked(122)).media == {}
    assert world.tell(ticked(123)).changes == ()


def test_a_trigger_after_an_update_brings_back_what_had_left() -> None:
    world = World()
    world.tell(registered("201"), registered("202"), triggered("201", "202"), update(60, "201"))
    world.answer_all()
    rows = world.tell(triggered("201", "202", clock=70)).rows
    assert [(row.media.media_id, row.removed) for row in rows] == [("201", False), ("202", False)]
    assert world.payloads[-1].summary.media_ids == ("201", "202")


def test_a_deletion_that_comes_late_takes_the_rows_of_before_it() -> None:
    world = World()
    world.tell(registered("201", clock=5), registered("202", clock=70))
    world.answer_all()
    rows = world.tell(Updated(post_id="100", clock="60-0", at=START, correlation_id="u", deleted=True)).rows
    assert [(row.media.media_id, row.removed) for row in rows] == [("202", False), ("201", True)]
    world.tell(registered("201", clock=80))
    world.position -= 2  # both are told again: what was registered since has not left
    rows = world.tell(Updated(post_id="100", clock="60-0", at=START, correlation_id="u", deleted=True)).rows
    assert [(row.media.media_id, row.removed) for row in rows] == [("202", False), ("201", False)]


def test_a_backlog_puts_the_timeout_off_but_not_for_ever() -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    world.tell(replace(ticked(120), behind=("vision", "captions", "faces")))
    assert world.payloads == []
    assert world.open is not None
    assert world.open.due == START + 132_000  # a tenth of the time it took already
    world.answer_all()
    assert [p.completeness for p in world.payloads] == ["complete"]

    world = World()
    world.tell(registered("201"), triggered("201"))
    ticks = 0
    while not world.payloads:
        assert world.open is not None
        assert world.open.due is not None
        world.tell(replace(ticked(0), at=world.open.due, behind=("vision", "captions", "faces")))
        ticks += 1
    assert ticks < 50
    assert world.payloads[0].completeness == "partial"
    assert POLICY.max_wait / 1000 == 3_600
    assert world.post is not None
    assert world.post.put_off == START + 3_600_000


@pytest.mark.parametrize("behind", [(), ("vision",), ("vision", "captions")])
def test_only_a_backlog_of_all_that_is_missing_puts_the_timeout_off(behind: tuple[Kind, ...]) -> None:
    world = World()
    world.tell(registered("201"), triggered("201"))
    world.tell(replace(ticked(120), behind=behind))
    assert [p.completeness for p in world.payloads] == ["partial"]


def test_a_media_never_registered_is_no_backlog() -> None:
    world = World()
    world.tell(registered("201"), triggered("201", "202"))
    world.tell(replace(ticked(120), behind=("vision", "captions", "faces")))
    assert [p.completeness for p in world.payloads] == ["partial"]


@pytest.mark.parametrize("clocks", [(1, 2), (2, 1)])
def test_the_greater_clock_wins_in_any_order(clocks: tuple[int, int]) -> None:
    world = World()
    for clock in clocks:
        world.tell(registered("201", clock=clock, url=f"http://images/{clock}"))
    assert world.media["201"].url == "http://images/2"


def test_story_tells_why() -> None:
    world = World()
    world.tell(registered("201"), triggered("201", "202"))
    world.tell(failed(world.tasks[0], error="404 Not Found from images"))
    assert world.post is not None
    told = story(world.post, list(world.media.values()), world.open)
    assert told["state"] == "incomplete"
    vision = ", ".join(KINDS["vision"])
    first = "attempt 1 failed, waiting for the next: 404 Not Found from images"
    assert told["why"] == [
        f"media 201, {', '.join(s for s in SERVICES if s in vision)}: {first}",
        "media 201, image_captioning, face_detection: no answer yet",
        "media 202: named by the request, never registered",
    ]
    assert told["media"][0]["services"]["moderation"]["lastError"] == "404 Not Found from images"
    assert told["media"][0]["services"]["face_detection"]["missingSince"] == "2023-11-14T22:13:20.000Z"


def asked_by(events: list[Event]) -> list[Task]:
    world = World()
    world.tell(*events)
    return world.tasks


def final(world: World) -> bytes:
    """The last payload, up to what counts deliveries."""
    return encode(replace(world.payloads[-1], revision=0, trigger=None))


def facts(random: Random) -> list[Event]:
    """All facts of a random post, with the answers that its tasks will get."""
    world = World()
    media = [f"{200 + n}" for n in range(random.randrange(1, 5))]
    events: list[Event] = [registered(m, clock=n + 1, position=n) for n, m in enumerate(media)]
    if random.random() < 0.3:
        events.append(registered(media[0], clock=40, url="http://images/again.jpg", position=0))
    events.append(triggered(*media))
    if random.random() < 0.3:
        events.append(triggered(*media, clock=55, at=START + 500))
    if random.random() < 0.3:
        events.append(update(random.choice((52, 57)), *random.sample(media, random.randrange(len(media) + 1))))
    if random.random() < 0.3:
        events.append(Updated(post_id="100", clock=f"{random.choice((51, 58))}-0", at=START, correlation_id="u"))
    world.tell(*events)
    answers: list[Event] = []
    for n, task in enumerate(world.tasks):
        at = START + 1_000 + n
        answers.append(failed(task, at=at, permanent=True) if random.random() < 0.15 else answered(task, at=at))
    world.tell(*answers)
    versions = iter(range(1, 100))
    found = {
        (task.media_id, task.generation, n): recognised(
            task, *(random.choice((None, "7", "8")) for _ in task.faces), known=next(versions)
        )
        for task in world.comparisons
        for n in range(random.randrange(4))
    }
    rechecks: list[Event] = [recheck(m, random.randrange(100)) for m in media if random.random() < 0.3]
    return events + answers + list(found.values()) + rechecks


def people(world: World) -> dict[str, list[tuple[object, ...]]]:
    """Who is on each media in the end."""
    return {
        media_id: [said(match) for match in row.recognition.matches]
        for media_id, row in world.media.items()
        if row.recognition is not None
    }


@settings(max_examples=3 * MANY, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_order_and_duplication_ends_in_the_same_payload(random: Random) -> None:
    events = facts(random)
    calm = World()
    calm.tell(*events, ticked(500))
    # What arrives before its registration is ignored: in the log a task's answer always follows its registration.
    wild = World()
    told = shuffled(events, random)
    asked = [e for e in told if isinstance(e, type(events[0])) or not hasattr(e, "generation")]
    wild.tell(*asked)
    wild.tell(*[e for e in told if e not in asked], ticked(500))
    assert final(wild) == final(calm)
    assert people(wild) == people(calm)
    assert wild.open == calm.open


@settings(max_examples=2 * MANY, deadline=None)
@given(st.randoms(use_true_random=False))
def test_replaying_any_stretch_of_the_log_changes_no_state(random: Random) -> None:
    events = facts(random)
    world = World()
    for end in range(1, len(events) + 1):
        world.tell(events[end - 1])
        if random.random() < 0.3:
            before = (world.post, dict(world.media), world.open)
            world.position = (start := random.randrange(end)) - 1
            world.tell(*events[start:end])
            assert (world.post, world.media, world.open) == before
    world.tell(ticked(500))
    calm = World()
    calm.tell(*events, ticked(500))
    assert encode(world.payloads[-1]) == encode(calm.payloads[-1])


@settings(max_examples=3 * MANY, deadline=None)
@given(st.randoms(use_true_random=False))
def test_crashes_at_any_point_are_healed_by_the_replay(random: Random) -> None:
    """The rows of a post are each of any time since the last acknowledged fact; from there the log is told again.

    Nothing is given out under a revision that had other content before, so whatever was delivered of it may stay.
    """
    events = [*facts(random), ticked(500)]
    for answer in [e for e in events if isinstance(e, Failed)]:  # corrected later, one by one
        asked = [t for t in asked_by(events) if (t.media_id, t.generation) == (answer.media_id, answer.generation)]
        events += [answered(t, at=START + 2_000) for t in asked if t.services == answer.services]
    events.insert(random.randrange(len(events) // 2, len(events)), ticked(130))
    calm = World()
    calm.tell(*events)
    world = World()
    acked = at = 0
    history: list[World] = [World()]  # the rows after each fact since the last acknowledged one
    crashes = 0
    while at < len(events):
        world.tell(events[at])
        at += 1
        history.append(World(post=world.post, media=dict(world.media), open=world.open))
        if random.random() < 0.2:  # acknowledged up to here
            acked, history = at, history[-1:]
        elif random.random() < 0.3 and crashes < 5:
            crashes += 1
            world.post, world.open = random.choice(history).post, random.choice(history).open
            for media_id in list(world.media):
                row = random.choice(history).media.get(media_id)
                world.media.pop(media_id) if row is None else world.media.update({media_id: row})
            history, at = [World(post=world.post, media=dict(world.media), open=world.open)], acked
            world.position = acked - 1
    assert final(world) == final(calm)
    assert world.open == calm.open
    assert people(world) == people(calm)
    told = {
        face.version for change in world.changes if isinstance(change, MediaChanged) for face in recognitions(change)
    }
    rows = [row.recognition for row in world.media.values() if row.recognition is not None]
    assert told >= {match.since for recognition in rows for match in recognition.matches}
    given_out: dict[tuple[int, str | None], bytes] = {}
    for payload in world.payloads:
        assert given_out.setdefault((payload.revision, payload.trigger), encode(payload)) == encode(payload)
    assert world.payloads[-1].revision == max(p.revision for p in world.payloads)
    tasks = {(t.media_id, t.kind, t.generation, t.attempt) for t in world.tasks}
    assert tasks == {(t.media_id, t.kind, t.generation, t.attempt) for t in calm.tasks}


def test_payloads_are_functions_of_state_not_of_dict_order() -> None:
    world = World()
    world.tell(registered("202", position=1), registered("201", position=0), triggered("202", "201"))
    world.answer_all()
    payload = world.payloads[-1]
    assert isinstance(payload, PostChanged)
    assert payload.summary.media_ids == ("201", "202")
    assert [i.__struct_config__.tag for i in payload.media[0].insights] == [
        s for s in SERVICES if s != "image_embedding"
    ]
    assert POLICY.backoff(3) == 4 * POLICY.backoff(1)


LIMIT = 8 * 2**20 - 16 * 1024  # of a record, with the default STREAMAPP_MAX_MESSAGE_BYTES


def test_a_post_of_1000_media_and_an_image_full_of_faces_stay_below_the_message_limit() -> None:
    world = World()
    faces = tuple(Face(bbox=(1000, 1000, 100, 100), confidence=0.987654, embedding=bytes(4096)) for _ in range(32))
    words = tuple(Label(f"some-long-word-{n}", 0.123456) for n in range(20))
    everything: tuple[Insight, ...] = (
        Moderation(is_safe=True, confidence=0.5, scores=words),
        Tagging(tags=words),
        SceneRecognition(scenes=words, colors=("#aabbcc",) * 5),
        ImageCaptioning(caption="A long caption. " * 10),
        ImageEmbedding(vector=bytes(2048)),
        FaceDetection(width=4000, height=3000, faces=faces),
    )
    media = [f"{10_000_000 + n}" for n in range(1_000)]
    for media_id in media:
        world.tell(registered(media_id, url=f"https://images.example.com/{'x' * 100}/{media_id}.jpg"))
        answer = answered(world.tasks[-1])
        world.tell(replace(answer, insights=everything))
        assert max(len(encode(change)) for change in world.changes[-1:]) < LIMIT / 20
        world.changes.clear()
    world.tell(triggered(*media))
    (payload,) = world.payloads
    assert len(encode(payload)) < LIMIT
    assert world.post is not None
    assert len(msgspec.json.encode(world.post)) < LIMIT / 10
    assert max(len(msgspec.json.encode(row)) for row in world.media.values()) < LIMIT / 20


def with_faces() -> World:
    """A complete post whose media 202 has one face."""
    world = World()
    world.tell(registered("202"), triggered("202"))
    world.answer_all()
    return world


def test_found_faces_are_compared_with_the_known_ones_once() -> None:
    world = with_faces()
    (task,) = world.comparisons
    assert (task.media_id, task.generation, task.faces) == ("202", "1-0/pixel-1", (b"1234",))
    world.tell(recognised(task), *(answered(task) for task in world.tasks))
    assert len(world.comparisons) == 1
    world = World()
    world.tell(registered("201"))  # without a face
    world.answer_all()
    assert world.comparisons == []


def test_nobody_known_changes_nothing_but_tells_whoever_writes_rows() -> None:
    world = with_faces()
    before = (world.post and world.post.revision, len(world.payloads))
    folded = world.tell(recognised(world.comparisons[0], None))
    assert (world.post and world.post.revision, len(world.payloads)) == before
    assert folded.changes == ()
    (row,) = folded.rows
    assert row.media.recognition == Recognition(known=1, at=START + 2001)


def test_who_is_found_is_a_revision_with_a_message_for_each_face() -> None:
    world = with_faces()
    revision = world.payloads[-1].revision
    folded = world.tell(recognised(world.comparisons[0], "7", known=5))
    change, payload = folded.changes
    assert isinstance(change, MediaChanged)
    (face,) = recognitions(change)
    told = (face.user_id, face.username, face.status, face.confidence, face.version)
    assert told == ("7", "name-7", "IDENTIFIED", 0.9, 5)
    assert isinstance(payload, PostChanged)
    assert payload.revision == revision + 1
    assert replace(payload, revision=revision, trigger=None) == world.payloads[-2]


def test_the_same_people_again_give_nothing_out() -> None:
    world = with_faces()
    task = world.comparisons[0]
    world.tell(recognised(task, "7", known=5))
    folded = world.tell(recognised(task, "7", known=9))
    assert folded.changes == ()
    assert [row.media.recognition and row.media.recognition.matches[0].since for row in folded.rows] == [5]
    assert world.tell(recognised(task, known=7)).ignored is not None  # older known faces
    assert people(world) == {"202": [(0, "7", 0.9, "IDENTIFIED")]}


def test_of_several_faces_only_those_that_changed_are_told_again() -> None:
    world = World()
    world.tell(registered("200"))  # two faces
    world.answer_all()
    task = world.comparisons[0]
    world.tell(recognised(task, "7", "8", known=2))
    (change, *_) = world.tell(recognised(task, "7", "9", known=3)).changes
    assert isinstance(change, MediaChanged)
    assert [(face.user_id, face.version) for face in recognitions(change)] == [("9", 3)]
    (change, *_) = world.tell(recognised(task, None, "9", known=4)).changes
    assert isinstance(change, MediaChanged)
    assert list(recognitions(change)) == []
    (change, *_) = world.tell(recognised(task, "7", "9", known=5)).changes
    assert isinstance(change, MediaChanged)
    assert [(face.user_id, face.version) for face in recognitions(change)] == [("7", 5)]


def test_a_recheck_asks_for_a_comparison_with_newer_faces_only() -> None:
    world = with_faces()
    world.tell(recognised(world.comparisons[0], "7", known=5))
    assert world.tell(recheck("202", 5)).comparison is None
    folded = world.tell(recheck("202", 6))
    assert folded.comparison == world.comparisons[0]
    assert (folded.changes, folded.rows) == ((), ())
    assert world.tell(recheck("201", 6)).ignored is not None  # never registered
    world.tell(Updated(post_id="100", clock="60-0", at=START, correlation_id="u", deleted=True))
    assert world.tell(recheck("202", 7)).comparison is None


def test_another_registration_is_another_comparison() -> None:
    world = with_faces()
    first = world.comparisons[0]
    world.tell(recognised(first, "7", known=5), registered("202", clock=9))
    assert people(world) == {}
    assert world.tell(recognised(first, "7", known=6)).ignored is not None
    for task in world.tasks[3:]:
        world.tell(answered(task))
    assert [task.generation for task in world.comparisons] == ["1-0/pixel-1", "9-0/pixel-1"]


def test_a_comparison_that_is_replayed_behind_a_newer_one_tells_who_is_there_still() -> None:
    """The message of the first was not sent when the worker was killed, the rows of the second were written."""
    world = World()
    world.tell(registered("200"))  # two faces
    world.answer_all()
    task = world.comparisons[0]
    first, second = recognised(task, "7", known=2), recognised(task, "7", "8", known=3)
    world.tell(first)
    at = world.position
    world.tell(second)
    world.position = at - 1
    told = []
    for event in (first, second):
        for change in world.tell(event).changes:
            if isinstance(change, MediaChanged):
                told += [(face.user_id, face.version) for face in recognitions(change)]
    assert told == [("7", 2), ("8", 3)]
