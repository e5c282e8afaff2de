"""The load and the kills of a round are functions of seed and round, with every kind of trouble in them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from chaos import load, plan
from streamapp.contracts import AggregationRequest, ImageRequest, read
from streamapp.contracts.streams import IMAGES, TRIGGERS

URL = "http://127.0.0.1:1"
ROUNDS = range(1, 26)
SEEDS = range(1, 6)


def messages(seed: int, number: int) -> list[load.Message]:
    return load.in_order(load.posts(seed, number, url=URL))


def test_the_same_seed_gives_the_same_load_and_the_same_kills() -> None:
    for number in ROUNDS:
        assert load.posts(7, number, url=URL) == load.posts(7, number, url=URL)
        assert plan.kills(7, number) == plan.kills(7, number)


def test_another_seed_or_round_gives_another() -> None:
    gists = {
        (seed, n): str([post.images.values() for post in load.posts(seed, n, url=URL)])
        for seed in SEEDS
        for n in ROUNDS
    }
    assert len(set(gists.values())) == len(gists)
    assert len({str(plan.kills(seed, n)) for seed, n in gists}) == len(gists)


def test_ids_are_of_one_round_only() -> None:
    posts = [post for number in ROUNDS for post in load.posts(1, number, url=URL)]
    assert len({post.post_id for post in posts}) == len(posts) == load.POSTS * len(ROUNDS)
    media = [media_id for post in posts for media_id in post.images]
    assert len(set(media)) == len(media)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_round_has_every_kind_of_post(seed: int) -> None:
    for number in ROUNDS:
        posts = load.posts(seed, number, url=URL)
        assert all(1 <= len(post.images) <= 5 for post in posts)
        assert sum(any(file in load.FAILING for file in post.images.values()) for post in posts) == 2
        assert any(file in load.WITH_FACES for post in posts for file in post.images.values())
        triggers = Counter(sum(message.stream == TRIGGERS for message in post.messages) for post in posts)
        assert triggers[0] >= 1  # never asked for
        assert triggers[1] >= 2  # early, late
        assert triggers[2] >= 1  # twice
        assert any(_is_early(post) for post in posts)
        assert any(_is_late(post) for post in posts)


def test_some_requests_come_twice_with_the_same_content() -> None:
    for number in ROUNDS:
        sent = Counter(str(sorted(m.fields.items())) for m in messages(1, number) if m.stream == IMAGES)
        assert set(sent.values()) == {1, 2}
        assert len(sent) == sum(len(post.images) for post in load.posts(1, number, url=URL))


def test_every_message_can_be_read_and_names_what_its_post_has() -> None:
    for post in load.posts(1, 1, url=URL):
        for message in post.messages:
            request = read(message.stream, message.fields, "1-0")
            if isinstance(request, ImageRequest):
                assert request.url == f"{URL}/{post.images[int(request.media_id)]}"
            else:
                assert isinstance(request, AggregationRequest)
                assert request.media_ids == tuple(map(str, post.images))


def test_messages_are_in_order_and_within_their_round() -> None:
    for number in ROUNDS:
        moments = [message.at for message in messages(2, number)]
        assert moments == sorted(moments)
        assert 0 <= moments[0] <= moments[-1] <= load.SECONDS


@pytest.mark.parametrize("seed", SEEDS)
def test_every_round_kills_the_bridge_and_a_worker(seed: int) -> None:
    for number in ROUNDS:
        victims = [kill.victim for kill in plan.kills(seed, number)]
        assert plan.BRIDGE in victims
        assert set(victims) & set(plan.WORKERS)
        assert sum(victim in plan.SERVERS for victim in victims) == (number % plan.EVERY == 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_servers_have_their_turn_before_one_has_it_again(seed: int) -> None:
    turns = [plan.server(seed, turn) for turn in range(3 * len(plan.SERVERS))]
    for begin in range(0, len(turns), len(plan.SERVERS)):
        assert sorted(turns[begin : begin + len(plan.SERVERS)]) == sorted(plan.SERVERS)


def test_kills_come_while_messages_come_and_never_before_the_victim_is_back() -> None:
    twice = 0
    for seed in SEEDS:
        for number in ROUNDS:
            kills = plan.kills(seed, number)
            assert [kill.at for kill in kills] == sorted(kill.at for kill in kills)
            for victim in plan.VICTIMS:
                own = [kill for kill in kills if kill.victim == victim]
                assert all(kill.at < load.SECONDS for kill in own[:1])
                assert all(after.at > before.at + before.away for before, after in pairwise(own))
                twice += len(own) == 2
    assert twice > 0


def _is_early(post: load.Post) -> bool:
    return min(post.messages, key=lambda message: message.at).stream == TRIGGERS


def _is_late(post: load.Post) -> bool:
    return max(post.messages, key=lambda message: message.at).at == load.SECONDS
