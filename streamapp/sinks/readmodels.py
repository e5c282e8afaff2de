"""The tables this application writes: their keys and our columns.

What is not named here belongs to the backend (reactions, comments, views, saves, categories, tagged users, location,
followers) or to another of our statements, and no upsert touches it.
"""

from __future__ import annotations

from dataclasses import dataclass

POST_SEARCH = "read_model_post_search"
MEDIA_SEARCH = "read_model_media_search"
USER_SEARCH = "read_model_user_search"
FACE_SEARCH = "read_model_face_search"
RECOMMENDATIONS = "read_model_recommendations_knn"
FEED = "read_model_feed_personalized"
KNOWN_FACES = "read_model_known_faces"
MEDIA_INSIGHTS = "media_ai_insights"
DETECTED_FACES = "media_detected_faces"
USER_FACES = "user_face_embeddings"

TABLES = (
    POST_SEARCH,
    MEDIA_SEARCH,
    USER_SEARCH,
    FACE_SEARCH,
    RECOMMENDATIONS,
    FEED,
    KNOWN_FACES,
    MEDIA_INSIGHTS,
    DETECTED_FACES,
    USER_FACES,
)

# Every media has a row in each of these that is ours, so what they carry is the newest revision that was written of it.
# The setting of the tables sees to it that there is one where it is needed.
REVISIONS_OF_MEDIA = (MEDIA_SEARCH, MEDIA_INSIGHTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadModel:
    """A table whose rows are made of changes.

    `columns` are name -> SQL type of the values we send; `revision` is always one of them. `key`: what an upsert knows
    its row by. `touched`: it has `updated_at`. `several`: a media may have no row here or some; otherwise it has one.
    """

    table: str
    key: str
    columns: dict[str, str]
    touched: bool = False
    several: bool = False

    def write(self) -> str:
        """One statement for any number of rows, given as a JSON array of objects; it says how many rows changed.

        A greater revision wins, an equal one repairs our columns, and a row that is right is not touched. Revisions are
        a post's own: the row of a media that came from another post is written whatever that one said.

        With `several`, the rows are all that some media have, and what else they had goes; the media are given as
        arrays of their ids, posts and revisions, the rows once more as an array of their keys. Whether that is the
        newest of a media is asked of REVISIONS_OF_MEDIA, which are written before: here may be no row to say it.
        """
        if not self.several:
            return f"WITH kept AS ({self._upsert()} RETURNING 1)\nSELECT count(*) FROM kept"
        newest = " AND ".join(
            f"NOT EXISTS (SELECT FROM {table} n WHERE n.media_id = m.media_id AND n.post_id = m.post_id "
            "AND n.revision > m.revision)"
            for table in REVISIONS_OF_MEDIA
        )
        return (
            "WITH now AS MATERIALIZED (SELECT media_id\n"  # noqa: S608  # names are ours
            "FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS m (media_id, post_id, revision)\n"
            f"WHERE {newest}),\n"
            f"gone AS (DELETE FROM {self.table} t USING now WHERE t.media_id = now.media_id\n"
            f"AND t.{self.key}::text NOT IN (SELECT unnest($5::text[])) RETURNING 1),\n"
            f"kept AS ({self._upsert('WHERE r.media_id IN (SELECT media_id FROM now)')} RETURNING 1)\n"
            "SELECT count(*) FROM (SELECT * FROM kept UNION ALL SELECT * FROM gone) AS changed"
        )

    def _upsert(self, which: str = "") -> str:
        names = ", ".join(self.columns)
        typed = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        ours = [name for name in self.columns if name not in (self.key, "revision")]
        old = ", ".join(f"t.{name}" for name in ours)
        new = ", ".join(f"excluded.{name}" for name in ours)
        changed = f"({old}) IS DISTINCT FROM ({new})"
        assignments = ", ".join(f"{name} = {_assigned(name, self.columns[name])}" for name in [*ours, "revision"])
        touch = f", updated_at = CASE WHEN {changed} THEN now() ELSE t.updated_at END" if self.touched else ""
        newer = f"excluded.revision > t.revision OR (excluded.revision = t.revision AND {changed})"
        if self.several:
            newer = f"({old}, t.revision) IS DISTINCT FROM ({new}, excluded.revision)"
        elif "post_id" in ours:
            newer = f"t.post_id <> excluded.post_id OR {newer}"
        return (
            f"INSERT INTO {self.table} AS t ({names})\n"
            f"SELECT {names} FROM json_to_recordset($1::json) AS r ({typed}) {which}\n"
            f"ON CONFLICT ({self.key}) DO UPDATE SET {assignments}{touch}\nWHERE {newer}"
        )


def _assigned(name: str, kind: str) -> str:
    """The new value. A vector lies beside its row: only when it is left where it is does PostgreSQL see that it is the
    same, and neither stores it again nor makes a new entry in an index of neighbours."""
    if kind != "vector":
        return f"excluded.{name}"
    return f"CASE WHEN t.{name} IS DISTINCT FROM excluded.{name} THEN excluded.{name} ELSE t.{name} END"


def delete_by(table: str, key: tuple[str, ...]) -> str:
    """Delete the rows of posts, or of media of posts: an array for each column of the key, and one of the revisions
    that ended them. It says how many."""
    arrays = ", ".join(f"${n}::bigint[]" for n in range(1, len(key) + 2))
    same = " AND ".join(_same(table, column) for column in key)
    return (
        f"WITH deleted AS (DELETE FROM {table} t\n"  # noqa: S608
        f"USING unnest({arrays}) AS gone ({', '.join(key)}, revision)\n"
        f"WHERE {same} AND {_ended(table)} RETURNING 1)\nSELECT count(*) FROM deleted"
    )


def _ended(table: str) -> str:
    """An item of a feed is of no revision: it goes unless its media is of a later one."""
    if table == FEED:
        newer = "m.media_id = t.media_id AND m.post_id = t.post_id AND m.revision > gone.revision"
        return f"NOT EXISTS (SELECT FROM {MEDIA_SEARCH} m WHERE {newer})"
    return "t.revision <= gone.revision"


def _same(table: str, column: str) -> str:
    """A detected face says which media it is on, and the insights of the media, which post that is of."""
    if table == DETECTED_FACES and column == "post_id":
        of = f"{MEDIA_INSIGHTS} i WHERE i.media_id = t.media_id AND i.post_id = gone.post_id"
        return f"EXISTS (SELECT FROM {of})"
    return f"t.{column} = gone.{column}"


READ_MODELS = {
    model.table: model
    for model in (
        # In the order of writing: what a media row says of its post is copied from the post's row, and a detected face
        # refers to the insights of its media.
        ReadModel(
            table=POST_SEARCH,
            key="post_id",
            touched=True,
            columns={
                "post_id": "bigint",
                "author_id": "bigint",
                "author_username": "varchar(50)",
                "author_full_name": "varchar(100)",
                "author_department": "varchar(100)",
                "title": "varchar(200)",
                "body": "text",
                "total_media": "integer",
                "total_images": "integer",
                "all_ai_tags": "text[]",
                "all_ai_scenes": "text[]",
                "has_unsafe_media": "boolean",
                "inferred_event_type": "varchar(50)",
                "inferred_tags": "text[]",
                "status": "varchar(20)",
                "visibility": "varchar(20)",
                "created_at": "timestamptz",
                "revision": "bigint",
            },
        ),
        ReadModel(
            table=MEDIA_SEARCH,
            key="media_id",
            touched=True,
            columns={
                "media_id": "bigint",
                "post_id": "bigint",
                "post_title": "varchar(200)",
                "post_body": "text",
                "media_position": "integer",
                "media_url": "varchar(1000)",
                "media_type": "varchar(20)",
                "thumbnail_url": "varchar(1000)",
                "width": "integer",
                "height": "integer",
                "ai_status": "text",
                "is_safe": "boolean",
                "ai_caption": "text",
                "ai_tags": "text[]",
                "ai_scenes": "text[]",
                "ai_confidence_scores": "jsonb",
                "image_embedding": "vector",
                "dominant_colors": "text[]",
                "detected_face_count": "integer",
                "detected_user_ids": "bigint[]",
                "detected_usernames": "text[]",
                "identified_user_ids": "bigint[]",
                "identified_usernames": "text[]",
                "identified_confidences": "double precision[]",
                "unidentified_face_count": "integer",
                "uploader_id": "bigint",
                "uploader_username": "varchar(50)",
                "uploader_full_name": "varchar(100)",
                "uploader_profile_pic": "varchar(255)",
                "uploader_department": "varchar(100)",
                "uploader_designation": "varchar(100)",
                "visibility": "varchar(20)",
                "post_status": "varchar(20)",
                "created_at": "timestamptz",
                "revision": "bigint",
            },
        ),
        ReadModel(
            table=MEDIA_INSIGHTS,
            key="media_id",
            touched=True,
            columns={
                "media_id": "bigint",
                "post_id": "bigint",
                "status": "text",
                "is_safe": "boolean",
                "caption": "text",
                "tags": "text[]",
                "scenes": "text[]",
                "image_embedding": "vector",
                "revision": "bigint",
            },
        ),
        ReadModel(
            table=DETECTED_FACES,
            key="face_id",
            several=True,
            columns={
                "face_id": "text",
                "media_id": "bigint",
                "bbox": "integer[]",
                "embedding": "vector",
                "identified_user_id": "bigint",
                "suggested_user_id": "bigint",
                "confidence_score": "double precision",
                "status": "text",
                "revision": "bigint",
            },
        ),
        ReadModel(
            table=FACE_SEARCH,
            key="face_id",
            several=True,
            columns={
                "face_id": "text",
                "media_id": "bigint",
                "post_id": "bigint",
                "bbox": "integer[]",
                "confidence": "double precision",
                "face_embedding": "vector",
                "identification_status": "text",
                "identified_user_id": "bigint",
                "identified_username": "varchar(50)",
                "suggested_user_id": "bigint",
                "match_confidence": "double precision",
                "uploader_id": "bigint",
                "post_title": "varchar(200)",
                "media_caption": "text",
                "media_url": "varchar(1000)",
                "created_at": "timestamptz",
                "revision": "bigint",
            },
        ),
        ReadModel(
            table=RECOMMENDATIONS,
            key="media_id",
            several=True,
            columns={
                "media_id": "bigint",
                "image_embedding": "vector",
                "media_url": "varchar(1000)",
                "thumbnail_url": "varchar(1000)",
                "post_id": "bigint",
                "caption": "text",
                "is_safe": "boolean",
                "created_at": "timestamptz",
                "revision": "bigint",
            },
        ),
    )
}
