"""What a rebuild of the rows says of a post is what was said of it at last."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from world import World, answered, failed, registered, shuffled, ticked, triggered

from streamapp.events import Change, Event, MediaChanged, PostChanged, PostDeleted, Updated
from streamapp.rebuild.rows import changes_of
from streamapp.verify.wanted import Known


def said(world: World) -> list[Change]:
    return list(changes_of(Known("100", world.post, world.media)))


def last(world: World) -> dict[str, Change]:
    """The newest change of each row."""
    found: dict[str, Change] = {}
    for change in world.changes:
        if isinstance(change, MediaChanged):
            found[f"media {change.media.media_id}"] = change
        elif isinstance(change, PostChanged):
            found["post"] = change
    return found


def assert_as_said(world: World) -> None:
    expected = last(world)
    found = said(world)
    for change in found:
        if isinstance(change, MediaChanged):
            before = expected.pop(f"media {change.media.media_id}")
            assert isinstance(before, MediaChanged)
            assert (change.media, change.removed) == (before.media, before.removed)
            assert change.revision >= before.revision  # so that it is written, and a later one wins
        elif isinstance(change, PostChanged):
            assert change == expected.pop("post")
    assert expected == {}


def updated(*media_ids: str, deleted: bool = False) -> Updated:
    return Updated(post_id="100", clock="90-0", at=1, correlation_id="c", media_ids=media_ids or None, deleted=deleted)


def test_a_whole_post() -> None:
    world = World()
    world.tell(registered("1"), registered("2"))
    world.answer_all()
    world.tell(triggered("1", "2"))
    assert_as_said(world)
    assert len(said(world)) == 3


def test_of_an_earlier_aggregate_nothing_is_known() -> None:
    world = World()
    world.tell(registered("1"))
    world.answer_all()
    world.tell(triggered("1"))
    world.tell(registered("2", clock=60))
    assert [type(change) for change in said(world)] == [MediaChanged]


def test_what_is_not_known_is_not_said() -> None:
    assert list(changes_of(Known("100"))) == []
    world = World()
    world.tell(registered("1"))
    assert said(world) == []


def test_a_deleted_post_is_deleted_again() -> None:
    world = World()
    world.tell(registered("1"))
    world.answer_all()
    world.tell(updated(deleted=True))
    (change,) = said(world)
    assert isinstance(change, PostDeleted)
    assert change == world.changes[-1]


def test_a_media_that_left_leaves_again() -> None:
    world = World()
    world.tell(registered("1"), registered("2"))
    world.answer_all()
    world.tell(updated("1"))
    (left,) = [change for change in said(world) if isinstance(change, MediaChanged) and change.removed]
    assert left.media.media_id == "2"


@given(st.randoms(use_true_random=False))
def test_whatever_happened(random: Random) -> None:
    world = World()
    ids = ["1", "2", "3"]
    world.tell(*(registered(media_id) for media_id in ids))
    facts: list[Event] = [triggered(*ids)]
    for task in world.tasks:
        facts.append(answered(task) if random.random() < 0.8 else failed(task, permanent=True))
    world.tell(*shuffled(facts, random))
    if random.random() < 0.5:
        world.tell(ticked(200))
    assert_as_said(world)
