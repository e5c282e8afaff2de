"""The names of our own topics and tables; those of streams and of their mirrors are in contracts/streams.py."""

from __future__ import annotations

from streamapp.insights import Kind

POST_EVENTS = "post-events"
POST_CHANGES = "post-changes"
ROW_CHANGES = "row-changes"
TASKS: dict[Kind, str] = {"vision": "vision-tasks", "captions": "caption-tasks", "faces": "face-tasks"}
RECOGNITION_TASKS = "recognition-tasks"
DEAD_LETTERS = "dead-letters"
INTERNAL = (POST_EVENTS, POST_CHANGES, ROW_CHANGES, *TASKS.values(), RECOGNITION_TASKS, DEAD_LETTERS)

TABLES = ("posts", "media", "open_posts")
