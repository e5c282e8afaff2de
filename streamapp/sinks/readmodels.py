"""The read models as this application writes them: their keys and our columns.

What is not named here belongs to the backend (reactions, comments, views, saves, categories, tagged users, location)
or to another of our statements, and no upsert touches it.
"""

from __future__ import annotations

from dataclasses import dataclass

MEDIA_SEARCH = "read_model_media_search"
POST_SEARCH = "read_model_post_search"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadModel:
    """A table. `columns` are name -> SQL type of the values we send; `revision` is always one of them."""

    table: str
    key: str
    columns: dict[str, str]

    def upsert(self) -> str:
        """One statement for any number of rows, given as a JSON array of objects.

        A greater revision wins, an equal one repairs our columns, and a row that is right is not touched.
        """
        names = ", ".join(self.columns)
        typed = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        ours = [name for name in self.columns if name not in (self.key, "revision")]
        old = ", ".join(f"t.{name}" for name in ours)
        new = ", ".join(f"excluded.{name}" for name in ours)
        changed = f"({old}) IS DISTINCT FROM ({new})"
        assignments = ", ".join(f"{name} = excluded.{name}" for name in [*ours, "revision"])
        return (
            f"INSERT INTO {self.table} AS t ({names})\n"  # names are ours
            f"SELECT {names} FROM json_to_recordset($1::json) AS r ({typed})\n"
            f"ON CONFLICT ({self.key}) DO UPDATE\n"
            f"SET {assignments}, updated_at = CASE WHEN {changed} THEN now() ELSE t.updated_at END\n"
            f"WHERE excluded.revision > t.revision OR (excluded.revision = t.revision AND {changed})"
        )

    def delete_by(self, key: tuple[str, ...]) -> str:
        """Delete the rows of posts, or of media of posts: an array for each column of the key, and one of the revisions
        that ended them."""
        arrays = ", ".join(f"${n}::bigint[]" for n in range(1, len(key) + 2))
        same = " AND ".join(f"t.{column} = gone.{column}" for column in key)
        return (
            f"DELETE FROM {self.table} t\n"  # noqa: S608
            f"USING unnest({arrays}) AS gone ({', '.join(key)}, revision)\n"
            f"WHERE {same} AND t.revision <= gone.revision"
        )


READ_MODELS = {
    model.table: model
    for model in (
        ReadModel(
            table=POST_SEARCH,
            key="post_id",
            columns={
                "post_id": "bigint",
                "author_id": "bigint",
                "author_username": "text",
                "author_full_name": "text",
                "author_department": "text",
                "title": "text",
                "body": "text",
                "total_media": "integer",
                "total_images": "integer",
                "all_ai_tags": "text[]",
                "all_ai_scenes": "text[]",
                "has_unsafe_media": "boolean",
                "inferred_event_type": "text",
                "inferred_tags": "text[]",
                "status": "text",
                "visibility": "text",
                "created_at": "timestamptz",
                "revision": "bigint",
            },
        ),
        ReadModel(
            table=MEDIA_SEARCH,
            key="media_id",
            columns={
                "media_id": "bigint",
                "post_id": "bigint",
                "post_title": "text",
                "post_body": "text",
                "media_position": "integer",
                "media_url": "text",
                "media_type": "text",
                "thumbnail_url": "text",
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
                "unidentified_face_count": "integer",
                "uploader_id": "bigint",
                "uploader_username": "text",
                "uploader_full_name": "text",
                "uploader_profile_pic": "text",
                "uploader_department": "text",
                "uploader_designation": "text",
                "visibility": "text",
                "post_status": "text",
                "created_at": "timestamptz",
                "revision": "bigint",
            },
        ),
    )
}
