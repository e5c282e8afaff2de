"""Which event and place the images of a post suggest.

A rule applies only when the post has all the words it requires and enough images; the rule with most words found wins,
ties by order. So people alone make no beach party, and an office alone no meeting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from streamapp.insights import Label

GENERAL = "general"


@dataclass(frozen=True)
class Rule:
    """`require`: groups of words, of each group one must be found among tags or scenes. `hint`: words that count."""

    event: str
    require: tuple[frozenset[str], ...]
    hint: frozenset[str]
    images: int


def _rule(event: str, require: str, hint: str = "", images: int = 2) -> Rule:
    groups = tuple(frozenset(group.split("|")) for group in require.split())
    return Rule(event, groups, frozenset(hint.split()), images)


RULES = (
    _rule("beach_party", "beach people", "outdoor food sunset water"),
    _rule("wedding", "people formal", "indoor outdoor flowers", images=3),
    _rule("meeting", "people office", "indoor"),
    _rule("concert", "people music", "night indoor outdoor stage"),
    _rule("restaurant", "food restaurant", "people indoor"),
    _rule("team_outing", "people team outdoor", "nature beach"),
    _rule("party", "people drinks|party", "food night indoor", images=2),
    _rule("vacation", "beach|mountains", "outdoor water sunset nature", images=3),
    _rule("outdoor_activity", "forest|mountains|nature|park|lake", "outdoor people tree"),
    _rule("indoor_gathering", "people indoor", "food", images=3),
)
"""The events of existing consumers, each made to require what its name says."""

PLACES = {
    "coastal": "beach",
    "mountainous": "mountains",
    "tropical": "beach",
    "arctic": "arctic",
    **{
        p: p
        for p in (
            "beach",
            "mountains",
            "urban",
            "office",
            "restaurant",
            "forest",
            "desert",
            "lake",
            "park",
            "rural",
        )
    },
}
"""Scene -> kind of place; indoor and outdoor only where nothing says more."""


@dataclass(frozen=True)
class Inferred:
    """What the images suggest; confidence 0..1 is the mean score of the words that led to the event, 0 for none."""

    event_type: str
    location_type: str | None
    tags: tuple[str, ...]
    confidence: float


def infer(*, tags: Sequence[Sequence[Label]], scenes: Sequence[Sequence[Label]], images: int) -> Inferred:
    """Event, place and words for a post, from the tags and scenes of each of its images."""
    scores: dict[str, float] = {}
    for label in (label for labels in (*tags, *scenes) for label in labels):
        name = label.name.lower()
        scores[name] = max(scores.get(name, 0.0), label.score)
    place = _place([label.name.lower() for labels in scenes for label in labels])
    rule = max(
        (rule for rule in RULES if images >= rule.images and all(group & scores.keys() for group in rule.require)),
        key=lambda rule: 2 * len(rule.require) + len(rule.hint & scores.keys()),
        default=None,
    )
    if rule is None:
        return Inferred(GENERAL, place, (place,) if place else (), 0.0)
    led = {word for group in rule.require for word in group & scores.keys()}
    words = dict.fromkeys(word for word in (rule.event, place, "social" if "people" in scores else None) if word)
    return Inferred(rule.event, place, tuple(words), round(sum(scores[w] for w in led) / len(led), 4))


def _place(scenes: list[str]) -> str | None:
    places = Counter(PLACES[scene] for scene in scenes if scene in PLACES)
    if places:
        return places.most_common(1)[0][0]
    plain = Counter(scene for scene in scenes if scene in ("indoor", "outdoor"))
    return plain.most_common(1)[0][0] if plain else None
