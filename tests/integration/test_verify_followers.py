"""Rows that follow other rows: what a sweep would put right, `streamapp verify` finds."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sinks_support import backend_post, fresh_pool, insights, view, whole

from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.readmodels import FEED, MEDIA_SEARCH, TABLES, USER_SEARCH
from streamapp.verify.findings import Findings
from streamapp.verify.followers import Followers


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    """A post of ann (7), read by bob (8)."""
    async with fresh_pool(url) as pool:
        await pool.execute(
            "INSERT INTO users (user_id, username, email, password, role, account_status) "
            "VALUES (8, 'bob', 'bob@example.test', '', 'USER', 'ACTIVE')"
        )
        await backend_post(pool, 1, [10])
        await pool.execute("UPDATE posts SET created_at = now()")
        await pool.execute("UPDATE post_media SET created_at = now()")
        models = ReadModels(pool)
        await models.write(whole(view("10", insights(safe=True))))
        for _ in range(2):
            await models.tend()
        yield pool


async def found(pool: Pool, *, post: int | None = None, tables: tuple[str, ...] = tuple(TABLES)) -> Findings:
    return await Followers(pool, tables=tables, wait=0.0).all(post=post)


def lines(findings: Findings) -> list[str]:
    return [each.line() for each in findings.differences]


async def test_what_nobody_touched_is_equal(pool: Pool) -> None:
    findings = await found(pool)
    assert lines(findings) == []
    assert findings.compared == {"users": 2, "feed items": 2}
    assert (await found(pool, post=1)).compared == {"feed items": 2}
    assert (await found(pool, post=2)).compared == {}
    assert (await found(pool, tables=(MEDIA_SEARCH,))).compared == {}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "UPDATE users SET department = 'it' WHERE user_id = 7",
            "7.department: the backend has 'it', user has 'sales'",
        ),
        (f"UPDATE {USER_SEARCH} SET total_posts = 9 WHERE user_id = 8", "8.total_posts: the backend has 0, user has 9"),
        (f"DELETE FROM {USER_SEARCH} WHERE user_id = 8", "8: missing"),
        (
            "UPDATE users SET account_status = 'DELETED' WHERE user_id = 7",
            "7: should not be there: the backend has no such user, or has it as deleted",
        ),
    ],
)
async def test_a_user_that_differs_is_named(pool: Pool, change: str, line: str) -> None:
    await pool.execute(change)
    assert f"user {USER_SEARCH} {line}" in lines(await found(pool))


async def test_a_name_wider_than_our_column_is_cut(pool: Pool) -> None:
    await pool.execute("ALTER TABLE users ALTER COLUMN department TYPE text")
    try:
        await pool.execute("UPDATE users SET department = repeat('ä', 150) WHERE user_id = 7")
        await pool.execute(f"UPDATE {USER_SEARCH} SET department = repeat('ä', 100) WHERE user_id = 7")
        assert lines(await found(pool)) == []
    finally:
        await pool.execute("UPDATE users SET department = NULL")
        await pool.execute("ALTER TABLE users ALTER COLUMN department TYPE varchar(100)")


@pytest.mark.parametrize(
    ("change", "reason", "readers"),
    [
        ("UPDATE posts SET visibility = 'PRIVATE'", "the post is for its author only", [8]),
        ("UPDATE posts SET status = 'DRAFT'", "the post is for its author only", [8]),
        ("DELETE FROM posts", "the post is gone", [7, 8]),
        (f"UPDATE {MEDIA_SEARCH} SET is_safe = false", "its media is not safe", [7, 8]),
        (f"DELETE FROM {MEDIA_SEARCH}", "its media has no row", [7, 8]),
        (f"UPDATE {FEED} SET expires_at = now() - interval '2 minutes'", "its time is over", [7, 8]),
        ("UPDATE users SET account_status = 'SUSPENDED'", "its reader is not active", [8]),
    ],
)
async def test_an_item_that_should_not_be_there_is_named(
    pool: Pool, change: str, reason: str, readers: list[int]
) -> None:
    await pool.execute(change)
    expected = {f"post 1 media 10 item {FEED} {n}:10: should not be there: {reason}" for n in readers}
    assert set(lines(await found(pool, post=1))) == expected


async def test_an_item_that_says_something_else_is_named(pool: Pool) -> None:
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET media_url = 'there'")
    assert sorted(lines(await found(pool, post=1))) == [
        f"post 1 media 10 item {FEED} {n}:10.media_url: its media has 'there', item has 'http://images.test/10.jpg'"
        for n in (7, 8)
    ]


async def test_what_has_just_ended_is_given_time(pool: Pool) -> None:
    await pool.execute(f"UPDATE {FEED} SET expires_at = now() - interval '5 s'")
    assert lines(await found(pool)) == []
