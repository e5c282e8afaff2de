"""Names of the streams."""

from __future__ import annotations

IMAGES = "post-image-processing"
PROFILES = "profile-picture-processing"
UPDATES = "post-update-processing"
TRIGGERS = "post-aggregation-trigger"
SYNC = "es-sync-queue"
INBOUND = (IMAGES, PROFILES, UPDATES, TRIGGERS, SYNC)

INSIGHTS = "ml-insights-results"
FACES = "face-detection-results"
RECOGNITIONS = "face-recognition-results"
ENRICHED = "post-insights-enriched"
ERRORS = "ml-error-results"
PROFILE_EMBEDDINGS = "user-profile-face-embedding-results"
OUTBOUND = (INSIGHTS, FACES, RECOGNITIONS, ENRICHED, ERRORS, PROFILE_EMBEDDINGS)
