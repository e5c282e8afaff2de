"""Who is on a media: in its story, and when nobody compares its faces any more."""

from __future__ import annotations

import pytest
from world import START, World, answered, registered, triggered

from streamapp.cli.inspect import explain
from streamapp.events import Match, PostDeleted, Recheck, Recognised, Updated
from streamapp.ids import face_id
from streamapp.posts.story import story

MEDIA = "2"  # of which the world's engine finds two faces


def recognised(world: World, known: int, *matches: Match) -> Recognised:
    generation = world.media[MEDIA].brief.generation
    return Recognised(post_id="100", media_id=MEDIA, generation=generation, known=known, at=START, matches=matches)


def bob(face: int = 0) -> Match:
    return Match(face=face, user_id="8", username="bob", confidence=0.93, status="IDENTIFIED")


def recheck(known: int) -> Recheck:
    return Recheck(post_id="100", media_id=MEDIA, known=known, at=START)


@pytest.fixture
def world() -> World:
    world = World()
    world.tell(registered(MEDIA), triggered(MEDIA))
    world.answer_all()
    return world


def told(world: World) -> dict[str, object]:
    assert world.post is not None
    (media,) = story(world.post, list(world.media.values()), world.open)["media"]
    return {name: media[name] for name in ("faces", "knownFaces")}


def test_the_story_says_who_is_on_a_media(world: World) -> None:
    ids = [face_id(MEDIA, world.media[MEDIA].brief.generation, index) for index in (0, 1)]
    nobody: dict[str, object] = {"status": "UNKNOWN", "userId": None, "username": None, "confidence": None}
    assert told(world) == {"faces": [{"faceId": one} | nobody for one in ids], "knownFaces": None}
    world.tell(recognised(world, 5, bob(face=1)))
    found: dict[str, object] = {"status": "IDENTIFIED", "userId": "8", "username": "bob", "confidence": 0.93}
    assert told(world) == {"faces": [{"faceId": ids[0]} | nobody, {"faceId": ids[1]} | found], "knownFaces": 5}


def test_inspect_has_a_line_for_it(world: World) -> None:
    assert world.post is not None

    def lines() -> list[str]:
        assert world.post is not None
        return explain(story(world.post, list(world.media.values()), world.open)).splitlines()

    assert "  media 2: 2 faces, not compared with the known faces yet" in lines()
    world.tell(recognised(world, 5))
    assert "  media 2: 2 faces: 2 unknown" in lines()
    world.tell(recognised(world, 6, bob()))
    assert "  media 2: 2 faces: bob (8) identified 0.93, 1 unknown" in lines()


def deletion(clock: int) -> Updated:
    return Updated(post_id="100", clock=f"{clock}-0", at=START, correlation_id="c", deleted=True)


def test_a_deleted_post_lets_go_who_was_on_its_media(world: World) -> None:
    world.tell(recognised(world, 5, bob()), deletion(90))
    assert world.media[MEDIA].recognition is not None
    folded = world.tell(recheck(6))
    assert world.media[MEDIA].recognition is None
    assert [type(change) for change in folded.changes] == [PostDeleted]
    assert folded.comparison is None
    assert world.tell(recheck(6)).media == {}


def test_so_does_one_of_which_other_media_are_there_still(world: World) -> None:
    world.tell(recognised(world, 5, bob()), registered("3", clock=95), deletion(90))
    assert world.post is not None
    assert world.post.gone == (MEDIA,)
    assert world.tell(recheck(6)).media.keys() == {MEDIA}
    assert world.media[MEDIA].recognition is None


def test_a_media_of_the_post_is_compared_instead(world: World) -> None:
    world.tell(recognised(world, 5, bob()))
    folded = world.tell(recheck(6))
    assert folded.media == {}
    assert folded.comparison is not None
    assert world.media[MEDIA].recognition is not None


def test_a_replayed_one_takes_nothing_from_a_later_registration(world: World) -> None:
    world.tell(recognised(world, 5, bob()), deletion(90))
    deleted, position = world.post, world.position + 1
    world.tell(recheck(6), registered(MEDIA, clock=95))
    for task in world.tasks[-3:]:
        world.tell(answered(task))
    world.tell(recognised(world, 7, bob()))
    later = world.media[MEDIA]
    world.post, world.position = deleted, position - 1  # the post's row was not written, the media's was
    assert world.tell(recheck(6)).media == {}
    assert world.media[MEDIA] is later
