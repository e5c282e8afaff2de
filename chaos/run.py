"""Playing a round: the load is sent while processes and servers die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import redis.asyncio as redis
from redis.exceptions import RedisError

from chaos.load import USER, Message, Post
from chaos.plan import Kill
from chaos.system import System
from demo.backend import Backend
from stack import StackError

TEND_SECONDS = 1.0
PAUSE = 0.1  # seconds between two attempts to send while Redis is down


@dataclass(kw_only=True)
class Played:
    """What happened in a round: kills with their time (milliseconds since 1970), and entries sent twice because the
    reply did not come."""

    killed: list[tuple[Kill, int]] = field(default_factory=list)
    repeated: int = 0


async def insert(backend: Backend, posts: Iterable[Post], url: str) -> None:
    """The backend's own rows of posts."""
    await backend.add_user(USER, "ana")
    for post in posts:
        urls = {media_id: f"{url}/{file}" for media_id, file in post.images.items()}
        await backend.add_post(post.post_id, USER, f"Post {post.post_id}", urls)


async def play(system: System, messages: Sequence[Message], kills: Sequence[Kill]) -> Played:
    """Send all messages and carry out all kills at their moments, and return when everything serves again.

    Raises StackError where something does not come back.
    """
    played = Played()
    one_at_a_time = asyncio.Lock()
    tending = asyncio.create_task(_tend(system, one_at_a_time))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_send(system.environment["STREAMAPP_REDIS_URL"], messages, played))
            for kill in kills:
                tasks.create_task(_kill(system, kill, one_at_a_time, played))
    except* StackError as failed:
        raise failed.exceptions[0] from None
    finally:
        async with one_at_a_time:
            tending.cancel()
        await asyncio.wait([tending])
    await asyncio.to_thread(system.ready)
    return played


async def send_at_once(url: str, messages: Iterable[Message]) -> None:
    """The same messages in the same order, without the time between them."""
    await _send(url, [Message(at=0, stream=m.stream, fields=m.fields) for m in messages], Played())


async def _send(url: str, messages: Sequence[Message], played: Played) -> None:
    """As a backend does that must not lose a message: what is not confirmed is sent again."""
    begin = asyncio.get_running_loop().time()
    async with redis.Redis.from_url(url, socket_timeout=2) as client:
        for message in messages:
            await asyncio.sleep(begin + message.at - asyncio.get_running_loop().time())
            while True:
                try:
                    await client.xadd(message.stream, dict(message.fields))  # type: ignore[arg-type]  # str is one of many
                    break
                except (RedisError, OSError):
                    played.repeated += 1
                    await asyncio.sleep(PAUSE)


async def _kill(system: System, kill: Kill, one_at_a_time: asyncio.Lock, played: Played) -> None:
    await asyncio.sleep(kill.at)
    async with one_at_a_time:
        at = await asyncio.to_thread(system.kill, kill.victim)
    if at is None:  # it is down already, and comes back without us
        return
    played.killed.append((kill, at))
    await asyncio.sleep(kill.away)
    async with one_at_a_time:
        await asyncio.to_thread(system.launch, kill.victim)


async def _tend(system: System, one_at_a_time: asyncio.Lock) -> None:
    while True:
        await asyncio.sleep(TEND_SECONDS)
        async with one_at_a_time:
            await asyncio.to_thread(system.tend)
