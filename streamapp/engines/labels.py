"""The words that CLIP may say, and the sentences that stand for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamapp.engines.weights import ModelsError

TEMPLATES = ("a photo of {}.", "a picture of {}.", "a good photo of {}.")
"""Each phrase in each of these is a sentence; a word's vector is the mean of its sentences' vectors, as the CLIP paper
does it (section 3.1.4). The 80 templates of that paper are about objects; these suit scenes as well."""

PHRASES = {
    "person": "one person",
    "people": "a group of people",
    "face": "a face in close-up",
    "car": "a car",
    "vehicle": "a vehicle",
    "building": "a building",
    "architecture": "architecture",
    "tree": "a tree",
    "sky": "the sky",
    "water": "open water",
    "beach": "a beach",
    "mountain": "a mountain",
    "mountains": "mountains",
    "forest": "a forest",
    "food": "food on a table",
    "animal": "an animal",
    "dog": "a dog",
    "cat": "a cat",
    "bird": "a bird",
    "indoor": "a room indoors",
    "outdoor": "the outdoors",
    "city": "a city",
    "street": "a street",
    "road": "a road",
    "sunset": "a sunset",
    "sunrise": "a sunrise",
    "night": "a scene at night",
    "day": "a scene in daylight",
    "formal": "people in formal clothes|a bride and a groom",
    "music": "musicians playing music",
    "stage": "a stage with lights",
    "drinks": "people with drinks",
    "party": "a party",
    "team": "a team of colleagues",
    "urban": "an urban scene",
    "office": "an office",
    "restaurant": "a restaurant",
    "desert": "a desert",
    "lake": "a lake",
    "park": "a park",
    "rural": "the countryside",
    "coastal": "a coast",
    "mountainous": "a mountain range",
    "tropical": "a tropical place",
    "arctic": "an arctic landscape of ice and snow",
    "neutral": "an everyday scene|people in ordinary clothes",
    "landscape": "a landscape",
    "things": "food, animals or things",
    "places": "a street, a building or a room",
    "text": "a document or a screenshot",
    "drawing": "a harmless drawing",
    "nsfw": "nudity|a naked person",
    "porn": "pornography|people having sex",
    "hentai": "a pornographic drawing",
    "racy": "a person posing in lingerie",
    "violence": "a violent attack|a person with a weapon threatening somebody",
    "gore": "blood and injuries|a dead body",
}
"""What stands for a word where the settings give no phrase; a word that is not here stands for itself."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, and phrases for what it means."""

    name: str
    phrases: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All phrases in all templates."""
        return tuple(template.format(phrase) for phrase in self.phrases for template in TEMPLATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """All that CLIP is asked. Of moderation there are words for what may be shown and words for what may not."""

    tags: tuple[Word, ...]
    scenes: tuple[Word, ...]
    safe: tuple[Word, ...]
    unsafe: tuple[Word, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        """All of them: tags, scenes, safe, unsafe."""
        return self.tags + self.scenes + self.safe + self.unsafe


def vocabulary(*, tags: Sequence[str], scenes: Sequence[str], moderation: Sequence[str]) -> Vocabulary:
    """From settings: `word`, or `word=phrase|phrase`; of moderation with `safe:` or `unsafe:` before it.

    Raises ModelsError, which names the variable.
    """
    judged: dict[str, list[str]] = {"safe": [], "unsafe": []}
    for entry in moderation:
        verdict, colon, word = entry.partition(":")
        if not colon or verdict.strip() not in judged:
            raise ModelsError(f"STREAMAPP_MODERATION_LABELS: {entry!r} starts with neither safe: nor unsafe:")
        judged[verdict.strip()].append(word)
    return Vocabulary(
        tags=_words("STREAMAPP_TAG_LABELS", tags),
        scenes=_words("STREAMAPP_SCENE_LABELS", scenes),
        safe=_words("STREAMAPP_MODERATION_LABELS (safe)", judged["safe"]),
        unsafe=_words("STREAMAPP_MODERATION_LABELS (unsafe)", judged["unsafe"]),
    )


def _words(variable: str, entries: Sequence[str]) -> tuple[Word, ...]:
    words = tuple(_word(variable, entry) for entry in entries)
    if not words:
        raise ModelsError(f"{variable}: no words, at least one is needed")
    names = [word.name for word in words]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ModelsError(f"{variable}: {', '.join(twice)} twice")
    return words


def _word(variable: str, entry: str) -> Word:
    name, equals, given = (part.strip() for part in entry.partition("="))
    text = given if equals else PHRASES.get(name, name)
    phrases = tuple(phrase.strip() for phrase in text.split("|") if phrase.strip())
    if not name or not phrases:
        raise ModelsError(f"{variable}: {entry!r} is not word or word=phrase|phrase")
    return Word(name, phrases)
