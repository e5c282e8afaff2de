"""A media row as others see it: what is known, what is missing and why, and the changes that say so."""

from __future__ import annotations

from collections.abc import Collection

from streamapp.events import MediaChanged, MediaView, Missing, ServiceFailed
from streamapp.insights import SERVICES, Service
from streamapp.posts.brief import ANSWERED, FAILED
from streamapp.posts.state import Media, Post


def view(row: Media, *, unsafe: Collection[str] = ()) -> MediaView:
    """The media with its insights in the order of the services. unsafe: media that the backend holds so."""
    details = [(service, row.detail(service)) for service in SERVICES]
    return MediaView(
        media_id=row.media_id,
        url=row.url,
        generation=row.brief.generation,
        correlation_id=row.correlation_id,
        insights=tuple(detail.insight for _, detail in details if detail.insight is not None),
        models={service: detail.model for service, detail in details if detail.model is not None},
        missing=tuple(service for service in SERVICES if row.brief.of(service) != ANSWERED),
        failed=tuple(service for service in SERVICES if row.brief.of(service) == FAILED),
        position=row.position,
        user_id=row.user_id,
        job_id=row.job_id,
        at=max([row.at, *(detail.answered_at or detail.error_at or 0 for _, detail in details)]),
        unsafe=row.media_id in unsafe,
        recognition=row.recognition,
    )


def media_changed(
    post: Post, row: Media, *, answered: tuple[Service, ...] = (), removed: bool = False, recognised: int = 0
) -> MediaChanged:
    """What the media is now, as of its post's revision."""
    return MediaChanged(
        post_id=row.post_id,
        revision=post.revision,
        media=view(row, unsafe=post.unsafe),
        answered=answered,
        closed=bool(post.timed_out) or row.brief.settled,
        removed=removed,
        recognised=recognised,
    )


def service_failed(row: Media, services: tuple[Service, ...], *, error: str, at: int) -> ServiceFailed:
    """Services of the media that failed for good."""
    return ServiceFailed(
        post_id=row.post_id,
        media_id=row.media_id,
        generation=row.brief.generation,
        services=services,
        error=error,
        at=at,
        correlation_id=row.correlation_id,
        user_id=row.user_id,
        job_id=row.job_id,
    )


def missing(row: Media) -> list[Missing]:
    """What this media lacks, each with a reason that time alone does not change."""
    return [
        Missing(media_id=row.media_id, service=service, reason=_lasting(row, service))
        for service in SERVICES
        if row.brief.of(service) != ANSWERED
    ]


def _lasting(row: Media, service: Service) -> str:
    detail = row.detail(service)
    if row.brief.of(service) == FAILED or not detail.failures:
        return reason(row, service)
    return f"no answer yet, {detail.failures} attempt{'s' * (detail.failures > 1)} failed: {detail.error}"


def reason(row: Media, service: Service) -> str:
    """Why a service has no answer yet, in words."""
    step, detail = row.brief.of(service), row.detail(service)
    if step == FAILED:
        return f"failed for good after {detail.failures} attempt{'s' * (detail.failures > 1)}: {detail.error}"
    if step % 2:
        return f"attempt {detail.failures} failed, waiting for the next: {detail.error}"
    if step:
        return f"attempt {step // 2 + 1} is out, the last one failed: {detail.error}"
    return "no answer yet"
