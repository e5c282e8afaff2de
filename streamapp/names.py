"""The names of all topics and tables, in one place. Inbound and outbound ones are Redis streams of the same name."""

from __future__ import annotations

from streamapp.events import Kind

IMAGES = "post-image-processing"
UPDATES = "post-update-processing"
TRIGGERS = "post-aggregation-trigger"
PROFILE_PICTURES = "profile-picture-processing"
SYNC = "es-sync-queue"
INBOUND = (IMAGES, UPDATES, TRIGGERS, PROFILE_PICTURES, SYNC)

INSIGHTS = "ml-insights-results"
FACES_DETECTED = "face-detection-results"
FACES_RECOGNISED = "face-recognition-results"
ENRICHED = "post-insights-enriched"
ERRORS = "ml-error-results"
PROFILE_EMBEDDINGS = "user-profile-face-embedding-results"
OUTBOUND = (INSIGHTS, FACES_DETECTED, FACES_RECOGNISED, ENRICHED, ERRORS, PROFILE_EMBEDDINGS)

POST_EVENTS = "post-events"
POST_CHANGES = "post-changes"
TASKS: dict[Kind, str] = {"vision": "vision-tasks", "captions": "caption-tasks", "faces": "face-tasks"}
DEAD_LETTERS = "dead-letters"
INTERNAL = (POST_EVENTS, POST_CHANGES, *TASKS.values(), DEAD_LETTERS)

TABLES = ("posts", "media", "open_posts")
