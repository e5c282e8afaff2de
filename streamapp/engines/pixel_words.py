"""From the cues of a picture to words for it.

The words are those that a backend's users search for: 28 tags and 16 scenes, of which these cues can tell the ones
here. What they cannot tell (food, animals, rooms, mountains) is never claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamapp.engines.pixel_view import CHECKER_SQUARES, View
from streamapp.insights import Label, Moderation

MOST = 5  # words of a kind
LEAST = 0.3  # score from which a word is said
COLORS = {
    "black": (10, 10, 10),
    "grey": (150, 150, 150),
    "white": (245, 245, 245),
    "red": (200, 40, 40),
    "orange": (240, 140, 40),
    "yellow": (240, 220, 60),
    "green": (60, 150, 60),
    "blue": (50, 110, 210),
    "purple": (130, 60, 160),
    "pink": (240, 130, 190),
    "brown": (120, 75, 40),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Tags and scenes, at most MOST each, the highest score first, equal ones by name."""

    tags: tuple[Label, ...]
    scenes: tuple[Label, ...]


def words(seen: View, *, faces: int) -> Words:
    """The words for a view and a number of faces."""
    air = max(seen.sky, seen.glow)
    water = seen.water * air
    beach = min(seen.sand, water)
    forest = min(seen.green, seen.treetops)
    sunset = seen.glow * max(seen.water, seen.dark)  # a red wall has neither water nor dark land below it
    building = seen.windows * max(seen.sky, seen.road)
    street = min(building, seen.road)
    night = seen.dark * (1 - air)
    outdoor = max(seen.sky, sunset, forest, beach)
    people = max(seen.figures, faces)
    tags = {
        "beach": 0.95 * beach,
        "sunset": 0.92 * sunset,
        "forest": 0.92 * forest,
        "street": 0.92 * street,
        "people": 0.9 * (people >= 2),
        "person": 0.9 * (people == 1),
        "building": 0.88 * building,
        "city": 0.84 * street,
        "face": 0.82 * (faces > 0),
        "tree": 0.86 * forest,
        "nature": 0.8 * seen.green,
        "road": 0.7 * seen.road * max(seen.sky, building),
        "architecture": 0.6 * building,
        "water": 0.7 * water,
        "sky": 0.6 * max(seen.sky, sunset),
        "night": 0.5 * night,
        "outdoor": 0.5 * outdoor,
        "day": 0.4 * seen.sky,
    }
    scenes = {
        "beach": 0.95 * beach,
        "coastal": 0.7 * water * seen.sand,
        "forest": 0.92 * forest,
        "urban": 0.9 * building,
        "park": 0.6 * seen.green * seen.sky * (1 - seen.treetops),
        "desert": 0.7 * seen.sand * seen.sky * (1 - seen.water) * (1 - seen.green) * (1 - seen.windows),
        "outdoor": 0.6 * outdoor,
    }
    return Words(tags=_best(tags), scenes=_best(scenes))


def sentence(found: Words, *, faces: int, colors: tuple[str, ...]) -> str:
    """A sentence of the words; where there are none, of the colours ("#RRGGBB", at least one, most frequent first)."""
    tags = {tag.name for tag in found.tags}
    scene = found.scenes[0].name if found.scenes else ""
    place = {
        "beach": "a beach", "forest": "a forest", "urban": "a city street" if "street" in tags else "a city",
        "park": "a park", "desert": "a desert", "outdoor": "an outdoor scene",
    }.get(scene)  # fmt: skip
    who = "people" if "people" in tags else "a person" if "person" in tags else None
    if place is None and who is None:
        names = dict.fromkeys(color_name(color) for color in colors)  # in order, each once
        return f"A picture in {' and '.join(list(names)[:2])}"
    if place is None:
        return f"A portrait of {who}" if faces else f"A picture of {who}"
    sky = " at sunset" if "sunset" in tags else " under a blue sky" if "sky" in tags else ""
    text = place + (f" with {who}" if who else "") + sky
    return text[0].upper() + text[1:]


def color_name(color: str) -> str:
    """The nearest of COLORS to "#RRGGBB"."""
    rgb = bytes.fromhex(color[1:])
    return min(COLORS, key=lambda name: sum((a - b) ** 2 for a, b in zip(rgb, COLORS[name], strict=True)))


def moderation(seen: View) -> Moderation:
    """Unsafe if the picture shows the magenta checker, with at least CHECKER_SQUARES squares; else safe.

    The checker (pure magenta #FF00FF and any dark colour, squares of 1/60 of the picture's longer side or larger)
    stands for what must not be shown, in tests and demonstrations. Nothing else is judged.
    """
    unsafe = min(seen.squares / (2 * CHECKER_SQUARES), 1.0)
    is_safe = seen.squares < CHECKER_SQUARES
    return Moderation(
        is_safe=is_safe,
        confidence=round(1 - unsafe if is_safe else unsafe, 4),
        scores=(Label("magenta_checker", round(unsafe, 4)),),
    )


def _best(scores: dict[str, float]) -> tuple[Label, ...]:
    found = [Label(name, round(score, 4)) for name, score in scores.items() if score >= LEAST]
    return tuple(sorted(found, key=lambda label: (-label.score, label.name))[:MOST])
