"""What our rows have of the backend's: how it is found where the backend changed it without a message.

All statements take the tables that are ours as their last argument: what others write is theirs to keep right.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamapp.sinks.readmodels import (
    FACE_SEARCH,
    FEED,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    READ_MODELS,
    RECOMMENDATIONS,
)

_MEDIA = {"media_url": "m.media_url", "thumbnail_url": "m.thumbnail_url"}

# Column -> where it comes from: posts p, users u, post_media m. Not here: what the backend never changes (ids, times),
# and what the caption or the position of a media may come from as well.
COPIED = {
    POST_SEARCH: {
        "author_id": "p.user_id",
        "author_username": "u.username",
        "author_full_name": "u.full_name",
        "author_department": "u.department",
        "title": "p.title",
        "body": "p.body",
        "status": "p.status",
        "visibility": "p.visibility",
    },
    MEDIA_SEARCH: _MEDIA
    | {
        "post_title": "p.title",
        "post_body": "p.body",
        "media_type": "m.media_type",
        "width": "m.width",
        "height": "m.height",
        "uploader_id": "p.user_id",
        "uploader_username": "u.username",
        "uploader_full_name": "u.full_name",
        "uploader_profile_pic": "u.profile_picture_url",
        "uploader_department": "u.department",
        "uploader_designation": "u.designation",
        "visibility": "p.visibility",
        "post_status": "p.status",
    },
    FACE_SEARCH: {"uploader_id": "p.user_id", "post_title": "p.title", "media_url": "m.media_url"},
    RECOMMENDATIONS: _MEDIA,
}

_OF_POSTS = (POST_SEARCH, MEDIA_SEARCH, MEDIA_INSIGHTS, FACE_SEARCH, RECOMMENDATIONS, FEED)
_OF_MEDIA = _OF_POSTS[1:]


def statements() -> dict[str, str]:
    """By name."""
    return {f"copy_{table}": _copy(table) for table in COPIED} | {
        "posts_after": _posts_after(),
        "differing": "\nUNION\n".join(map(_differing, COPIED)),
        "written_posts": _written("post_id", (*_OF_POSTS, "awaiting")),
        "written_media": _written("media_id, post_id", (*_OF_MEDIA, "awaiting")),
    }


def _posts_after() -> str:
    """The next posts that have rows; $1 is the last one seen, $2 how many. A feed has many items of one media, and that
    has another row, unless the backend writes that."""
    arms = [
        f"(SELECT post_id FROM {table} WHERE {_ours(table, 3)} AND post_id > $1\n"  # noqa: S608  # names are ours
        "GROUP BY post_id ORDER BY post_id LIMIT $2)"
        for table in _OF_POSTS
    ]
    arms[-1] = arms[-1].replace(" AND ", f" AND NOT {_ours(MEDIA_SEARCH, 3)} AND ", 1)
    return f"SELECT post_id FROM ({' UNION '.join(arms)}) AS found ORDER BY post_id LIMIT $2"  # noqa: S608


def _ours(table: str, argument: int = 2) -> str:
    return f"'{table}' = ANY(${argument}::text[])"


def _sources(table: str) -> tuple[str, str]:
    """The backend's rows of a row t."""
    joins, same = "posts p JOIN users u ON u.user_id = p.user_id", "p.post_id = t.post_id"
    if table == POST_SEARCH:
        return joins, same
    return f"{joins} JOIN post_media m ON m.post_id = p.post_id", f"{same} AND m.media_id = t.media_id"


def _values(table: str) -> dict[str, str]:
    """As an upsert would write them: what is wider than the column is cut, what is no integer is left out."""
    kinds = READ_MODELS[table].columns
    return {
        name: f"CASE WHEN {value} BETWEEN -2147483648 AND 2147483647 THEN {value}::integer END"
        if kinds[name] == "integer"
        else f"{value}::{kinds[name]}"
        for name, value in COPIED[table].items()
    }


def _differs(table: str) -> str:
    values = _values(table)
    return f"({', '.join(f't.{name}' for name in values)}) IS DISTINCT FROM ({', '.join(values.values())})"


def _differing(table: str) -> str:
    """Those of some posts of which a row is not as the backend's are."""
    joins, same = _sources(table)
    return (
        f"SELECT t.post_id FROM {table} t JOIN ({joins}) ON {same}\n"  # noqa: S608
        f"WHERE {_ours(table)} AND t.post_id = ANY($1::bigint[]) AND t.revision > 0 AND {_differs(table)}"
    )


def _copy(table: str) -> str:
    """Make the rows of some posts right; how many changed."""
    joins, same = _sources(table)
    assignments = ", ".join(f"{name} = {value}" for name, value in _values(table).items())
    touch = ", updated_at = now()" if READ_MODELS[table].touched else ""
    return (
        f"WITH changed AS (UPDATE {table} t SET {assignments}{touch}\nFROM {joins}\n"  # noqa: S608
        f"WHERE {same} AND {_ours(table)} AND t.post_id = ANY($1::bigint[]) AND t.revision > 0\n"
        f"AND {_differs(table)} RETURNING 1)\nSELECT count(*) FROM changed"
    )


def _written(key: str, tables: Iterable[str]) -> str:
    """The greatest revision that was written, or waits to be, of each of some posts or media."""
    name = key.partition(",")[0]
    arms = [
        f"SELECT {key}, revision FROM {table} WHERE {name} = ANY($1::bigint[])"  # noqa: S608
        + ("" if table == "awaiting" else f" AND {_ours(table)}")
        for table in tables
    ]
    return f"SELECT {key}, max(revision) AS revision\nFROM ({' UNION ALL '.join(arms)}) AS written GROUP BY {key}"
