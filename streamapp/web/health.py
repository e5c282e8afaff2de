"""GET /health/live and /health/ready."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from streamapp.app import app
from streamapp.times import iso
from streamapp.web.middleware import respond

health = web.RouteTableDef()


@health.get("/health/live")
async def live(request: web.Request) -> web.Response:
    """200 while the event loop turns."""
    return respond({"status": "live", "upSeconds": round(time.time() - app.started_at, 1)})


@health.get("/health/ready")
async def ready(request: web.Request) -> web.Response:
    """200 when partitions are assigned, tables recovered and the engine loaded; else 503 with the reasons."""
    reasons = not_ready()
    body = {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "waiting": waiting(),
        "lanes": lanes(),
        "backlog": app.resources.backlog.lag if app.resources.loaded else {},
        "deadLetters": app.outbox.dead_letters,
        "refused": app.refused,
        "ignored": app.ignored,
        "images": app.resources.images(),
        "facesWithoutRows": app.resources.read_models.faceless if app.resources.loaded else 0,
        "unfitValues": app.resources.read_models.unfit if app.resources.loaded else 0,
        "hints": app.resources.hints.counts if app.resources.loaded else {},
        "faces": known_faces(),
        "awaitedForLong": app.resources.read_models.reported if app.resources.loaded else 0,
    }
    return respond(body, status=503 if reasons else 200)


def known_faces() -> dict[str, Any]:
    """What is still to be compared with the known faces as it was last seen, and counts since the start."""
    if not app.resources.loaded:
        return {}
    corrections = app.resources.corrections
    last = corrections.last
    pending = None if last is None else {**last, "since": last["since"] and last["since"].isoformat()}
    return {
        "pending": "unknown" if pending is None else pending,
        "pendingAt": None if pending is None else iso(corrections.last_at),
        "corrections": corrections.counts,
        "unusable": app.resources.known_faces.unusable,
    }


def not_ready() -> list[str]:
    """Why this worker does not work yet."""
    reasons = []
    if not app.resources.loaded:
        reasons.append("the engine is loading")
    if app.rebalancing or app.consumer_generation_id <= 0:
        reasons.append("no partitions are assigned yet")
    elif (recovery := app.tables.recovery).in_recovery or not recovery.completed.is_set():  # type: ignore[attr-defined]
        reasons.append("tables are being recovered from their changelogs")
    return reasons


def waiting() -> dict[str, Any]:
    """Servers that are down as seen by the lanes and the indexer: work waits, nothing is lost."""
    found = {
        name: {"since": round(lane.waiting_since, 3), "error": lane.waiting_for}
        for name, lane in app.lanes.items()
        if lane.waiting_since is not None
    }
    return {**found, **app.resources.waiting()}


def lanes() -> dict[str, dict[str, int]]:
    """Events per agent since the start."""
    return {
        name: {
            "inFlight": lane.in_flight,
            "done": lane.done,
            "deadLettered": lane.dead,
            "retries": lane.retries,
            "abandoned": lane.abandoned,
        }
        for name, lane in app.lanes.items()
    }
