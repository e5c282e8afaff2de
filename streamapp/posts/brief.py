"""How far a media is, in a few bytes: kept in the post's row and in the media's own, each moved by the same facts."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s

import msgspec
from msgspec.structs import replace

from streamapp.events import Answered, Event, Failed, Match, Recognised, Registered, Ticked
from streamapp.insights import SERVICES, Service, service_of
from streamapp.posts.clock import newer
from streamapp.posts.policy import Policy

# Progress of a service that failed for good, or answered: above that of the most attempts a setting allows. Small
# numbers, because a post's row has them for each of its media.
FAILED, ANSWERED = 98, 99


class Compared(msgspec.Struct, frozen=True, array_like=True):
    """The version of the known faces that the faces of a media were last compared with, what was found (a digest; empty
    where nobody was), and the version since which it is that."""

    known: int
    found: str
    since: int


class Brief(msgspec.Struct, frozen=True, array_like=True):
    """A registration and the progress of each service (in the order of SERVICES).

    Progress 2n: an attempt is out, n failed before; 2n-1: the n-th failed and the next one is waited for until `due`.
    `issued`: time of the fact that issued the attempts that are out, by which its replay knows to issue them again.
    """

    clock: str
    model: str
    progress: tuple[int, ...]
    issued: int
    due: int | None = None
    faces: Compared | None = None

    @property
    def generation(self) -> str:
        """The request that answers belong to: this registration, looked at by this model."""
        return f"{self.clock}/{self.model}"

    @property
    def settled(self) -> bool:
        """Whether each service has answered or failed for good."""
        return min(self.progress) >= FAILED

    @property
    def unsettled(self) -> frozenset[Service]:
        """The services that have neither answered nor failed for good."""
        return frozenset(service for service, step in zip(SERVICES, self.progress, strict=True) if step < FAILED)

    def attempts(self) -> dict[Service, int]:
        """The attempt that is out, by service."""
        return {
            service: step // 2 + 1
            for service, step in zip(SERVICES, self.progress, strict=True)
            if step < FAILED and step % 2 == 0
        }

    def of(self, service: Service) -> int:
        """The progress of one service."""
        return self.progress[SERVICES.index(service)]


def advance(brief: Brief | None, event: Event, policy: Policy) -> Brief | None:
    """The brief after a fact about its media (or a tick); the same object when the fact says nothing new."""
    match event:
        case Registered():
            if brief is not None and not newer(event.clock, brief.clock):
                return brief
            return Brief(event.clock, policy.model, (0,) * len(SERVICES), event.at)
        case Answered() if brief is not None and event.generation == brief.generation:
            return _moved(brief, {service_of(insight): ANSWERED for insight in event.insights})
        case Failed() if brief is not None and event.generation == brief.generation:
            return _failed(brief, event, policy)
        case Ticked() if brief is not None and brief.due is not None and brief.due <= event.at:
            steps = tuple(step + 1 if step < FAILED and step % 2 else step for step in brief.progress)
            return replace(brief, progress=steps, due=None, issued=event.at)
        case Recognised() if brief is not None and event.generation == brief.generation:
            return _compared(brief, event)
        case _:
            return brief


def said(match: Match) -> tuple[int, str, float, str]:
    """What a match says; the name of the user is the backend's to change."""
    return match.face, match.user_id, match.confidence, match.status


def _compared(brief: Brief, event: Recognised) -> Brief:
    """The greatest version counts."""
    before = brief.faces or Compared(0, "", 0)
    if event.known <= before.known:
        return brief
    found = _digest(event.matches)
    return replace(brief, faces=Compared(event.known, found, before.since if found == before.found else event.known))


def _digest(matches: Iterable[Match]) -> str:
    told = sorted(map(said, matches))
    return blake2s(repr(told).encode(), digest_size=6).hexdigest() if told else ""


def _failed(brief: Brief, event: Failed, policy: Policy) -> Brief:
    """Only the attempt that is out can fail: an earlier one told again says nothing new."""
    out = [service for service in event.services if brief.of(service) == 2 * (event.attempt - 1)]
    final = event.permanent or event.attempt >= policy.attempts
    after = _moved(brief, dict.fromkeys(out, FAILED if final else 2 * event.attempt - 1))
    if final or after is brief:
        return after
    # One clock per media: services that fail together are tried again together, on one download.
    return replace(after, due=max(brief.due or 0, event.at + policy.backoff(event.attempt)))


def _moved(brief: Brief, steps: dict[Service, int]) -> Brief:
    """Progress only grows."""
    moved = tuple(max(step, steps.get(service, 0)) for service, step in zip(SERVICES, brief.progress, strict=True))
    return brief if moved == brief.progress else replace(brief, progress=moved)
