"""One example of everything: requests as backends send them, and one fixed result of each kind.

The documentation shows them, and the golden samples of the writers are made of them. Vectors are three numbers long;
real ones are as long as the settings say.
"""

from __future__ import annotations

import struct

from streamapp.contracts import streams
from streamapp.contracts.records import FaceRecognised, ProfileEmbedded, ProfileFailed
from streamapp.contracts.results import Result
from streamapp.events import MediaChanged, MediaView, Missing, PostChanged, ServiceFailed, Summary
from streamapp.insights import (
    SERVICES,
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Label,
    Moderation,
    SceneRecognition,
    Tagging,
)

ENTRY_ID = "1737504030000-0"
AT = 1_737_504_030_000
_GENERATION = f"{ENTRY_ID}/pixel-1"
_VECTOR = struct.pack("<3f", 0.1, -0.25, 0.3)

REQUESTS: dict[str, dict[str, str]] = {
    streams.IMAGES: {
        "postId": "90001",
        "mediaId": "70001",
        "mediaUrl": "https://images.example.com/beach.jpg",
        "uploaderId": "101",
        "position": "0",
        "correlationId": "abc-123",
    },
    streams.PROFILES: {
        "userId": "101",
        "imageUrl": "https://images.example.com/101.jpg",
        "correlationId": "abc-124",
    },
    streams.UPDATES: {"postId": "90001", "mediaIds": "[70001]", "correlationId": "abc-125"},
    streams.TRIGGERS: {
        "postId": "90001",
        "allMediaIds": "70001,70002",
        "totalMedia": "2",
        "timestamp": "2025-01-22T00:00:30Z",
    },
    streams.SYNC: {"operation": "index", "indexType": "media_search", "documentId": "70001"},
}

MEDIA = MediaView(
    media_id="70001",
    url="https://images.example.com/beach.jpg",
    generation=_GENERATION,
    correlation_id="abc-123",
    user_id="101",
    at=AT,
    models=dict.fromkeys(SERVICES, "pixel-1"),
    insights=(
        Moderation(is_safe=True, confidence=0.95, scores=(Label("safe", 0.95), Label("nsfw", 0.05))),
        Tagging(tags=(Label("beach", 0.9), Label("people", 0.75))),
        SceneRecognition(scenes=(Label("outdoor", 0.8),), colors=("#FF6B35", "#004E89")),
        ImageCaptioning(caption="A beach with people"),
        ImageEmbedding(vector=_VECTOR),
        FaceDetection(
            width=400,
            height=200,
            faces=(
                Face(bbox=(100, 50, 80, 100), confidence=0.98, quality=0.92, embedding=_VECTOR),
                Face(bbox=(300, 20, 10, 10), confidence=0.6),
            ),
        ),
    ),
)

UNANSWERED = MediaView(
    media_id="70002",
    url="https://images.example.com/gone.jpg",
    generation=_GENERATION,
    correlation_id="abc-126",
    job_id="job-9",
    at=AT,
    missing=SERVICES,
    failed=SERVICES,
)

RESULTS: dict[str, Result] = {
    "media": MediaChanged(post_id="90001", revision=3, media=MEDIA, answered=SERVICES, closed=True),
    "media-without-answers": MediaChanged(post_id="90001", revision=4, media=UNANSWERED, closed=True),
    "post": PostChanged(
        post_id="90001",
        revision=5,
        completeness="partial",
        summary=Summary(
            media_count=2,
            media_ids=("70001", "70002"),
            all_tags=("beach", "people"),
            all_scenes=("outdoor",),
            top_tags=("beach", "people"),
            top_scenes=("outdoor",),
            total_faces=2,
            is_safe=False,
            has_unsafe_media=False,
            moderation_confidence=0.95,
            event_type="beach_party",
            location_type="beach",
            inferred_tags=("beach_party", "social"),
            confidence=0.91,
            caption="A beach with people",
        ),
        media=(MEDIA, UNANSWERED),
        at=AT,
        correlation_id="abc-123",
        user_id="101",
        missing=(Missing(media_id="70002", service="tagging", reason="the image cannot be fetched: HTTP 404"),),
        trigger="1737504031000-0",
        clock="1737504000000-0",
    ),
    "failed": ServiceFailed(
        post_id="90001",
        media_id="70002",
        generation=_GENERATION,
        services=("moderation", "image_captioning"),
        error="the image cannot be fetched: HTTP 404",
        at=AT,
        correlation_id="abc-126",
        job_id="job-9",
    ),
    "recognised": FaceRecognised(
        post_id="90001",
        media_id="70001",
        face_id="64ce1c43-81ff-5a62-a271-b0e5ca48ae30",
        user_id="102",
        username="ada",
        status="IDENTIFIED",
        confidence=0.875,
        version=1,
        correlation_id="abc-123",
        at=AT,
        model="pixel-1",
    ),
    "profile": ProfileEmbedded(
        user_id="101", embedding=_VECTOR, clock=ENTRY_ID, correlation_id="abc-124", at=AT, model="pixel-1"
    ),
    "profile-failed": ProfileFailed(
        user_id="101", error="no face in the picture", clock=ENTRY_ID, correlation_id="abc-124"
    ),
}
