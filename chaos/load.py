"""What the backend sends in a round: a function of seed and round alone."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from streamapp.contracts.streams import IMAGES, TRIGGERS

POSTS = 10  # a round
SECONDS = 8.0  # over which a round's messages are spread, duplicates and late triggers included
BURSTS = (0.0, 1.8, 3.6, 5.0)  # seconds: posts come together, so that something always waits when somebody dies
USER = 15
GOOD = ("beach.jpg", "beach_people.jpg", "forest.jpg", "street.jpg", "unsafe.jpg")
WITH_FACES = ("beach_sunset.jpg", "profile_lena.jpg", "profile_omar.jpg")
FAILING = ("gone.jpg", "text.jpg", "busy.jpg")  # a 404, no image, and a 503 at each of the attempts
ASKED = ("early", "late", "twice", "never")  # when the aggregate is asked for; never: the quiet period completes it


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """An entry for a stream, `at` seconds after the begin of its round."""

    at: float
    stream: str
    fields: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """A post of the backend: file names of its images by media id, in their order, and all messages about it."""

    post_id: int
    images: dict[int, str]
    messages: tuple[Message, ...]


def posts(seed: int, number: int, *, url: str) -> list[Post]:
    """The posts of round `number`, counted from 1; images are under `url`. Each kind of trouble is in every round."""
    chance = random.Random(f"{seed}:{number}")
    asked = chance.sample(ASKED * (POSTS // len(ASKED) + 1), POSTS)
    troubled = chance.sample(range(POSTS), 4)
    made = []
    for n in range(POSTS):
        post_id = 1_000_000 + number * 1000 + n
        files = [chance.choice(GOOD + WITH_FACES) for _ in range(chance.randint(1, 5))]
        if n in troubled[:2]:
            files[chance.randrange(len(files))] = chance.choice(FAILING)
        elif n in troubled[2:]:
            files[chance.randrange(len(files))] = chance.choice(WITH_FACES)
        images = {post_id * 10 + k: file for k, file in enumerate(files)}
        made.append(Post(post_id=post_id, images=images, messages=_messages(chance, post_id, images, asked[n], url)))
    return made


def in_order(posts: Iterable[Post]) -> list[Message]:
    """All messages of a round as they are sent."""
    return sorted((message for post in posts for message in post.messages), key=lambda message: message.at)


def _messages(chance: random.Random, post_id: int, images: dict[int, str], asked: str, url: str) -> tuple[Message, ...]:
    begin = chance.choice(BURSTS)
    sent = [
        Message(
            at=begin + chance.uniform(0, 0.3), stream=IMAGES, fields=_image(post_id, media_id, place, url + "/" + file)
        )
        for place, (media_id, file) in enumerate(images.items())
    ]
    # The same content once more: at the backend's hands at any time, and when the reply of an XADD was lost.
    again = [message for message in sent if chance.random() < 0.2]
    sent += [Message(at=chance.uniform(m.at, SECONDS), stream=m.stream, fields=m.fields) for m in again]
    moments = {"early": [begin], "late": [SECONDS], "twice": [begin + 0.4, chance.uniform(begin + 0.5, SECONDS)]}
    fields = _trigger(post_id, images)
    sent += [Message(at=at, stream=TRIGGERS, fields=fields) for at in moments.get(asked, [])]
    return tuple(sent)


def _image(post_id: int, media_id: int, place: int, url: str) -> dict[str, str]:
    return {
        "postId": str(post_id),
        "mediaId": str(media_id),
        "mediaUrl": url,
        "uploaderId": str(USER),
        "position": str(place),
        "correlationId": _correlation(post_id),
    }


def _trigger(post_id: int, images: Iterable[int]) -> dict[str, str]:
    listed = list(map(str, images))
    return {
        "postId": str(post_id),
        "totalMedia": str(len(listed)),
        "allMediaIds": ",".join(listed),
        "correlationId": _correlation(post_id),
    }


def _correlation(post_id: int) -> str:
    """One for all messages of a post: which of them an aggregate names may depend on what came first."""
    return f"chaos-{post_id}"
