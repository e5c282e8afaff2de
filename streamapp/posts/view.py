"""A media row as others see it: what is known, and what is missing and why."""

from __future__ import annotations

from streamapp.events import MediaView, Missing, Service
from streamapp.posts.state import Media, Slot


def view(row: Media) -> MediaView:
    """The media with its insights in the order of the services."""
    slots = [slot for _, slot in row.ordered]
    # One generation in all its slots unless a part was asked for again: then the latest names the whole.
    generation = max((slot.generation for slot in slots), default=row.clock)
    return MediaView(
        media_id=row.media_id,
        url=row.url,
        generation=generation,
        correlation_id=row.correlation_id,
        insights=tuple(slot.insight for slot in slots if slot.insight is not None),
        models={service: slot.model for service, slot in row.ordered if slot.model is not None},
        missing=tuple(service for service, slot in row.ordered if slot.insight is None),
        failed=tuple(service for service, slot in row.ordered if slot.failed),
        position=row.position,
        user_id=row.user_id,
        job_id=row.job_id,
        at=max([row.at, *(slot.answered_at or slot.error_at or 0 for slot in slots)]),
    )


def missing(row: Media) -> list[Missing]:
    """What this media lacks, each with the reason."""
    return [
        Missing(media_id=row.media_id, service=service, reason=reason(service, slot))
        for service, slot in row.ordered
        if slot.insight is None
    ]


def reason(service: Service, slot: Slot) -> str:
    """Why a service has no answer yet, in words."""
    if slot.failed:
        return f"failed for good after {slot.failures} attempt{'s' * (slot.failures > 1)}: {slot.error}"
    if slot.due is not None:
        return f"attempt {slot.failures} failed, waiting for the next: {slot.error}"
    if slot.failures:
        return f"attempt {slot.failures + 1} is out, the last one failed: {slot.error}"
    return f"no answer from {service} yet"
