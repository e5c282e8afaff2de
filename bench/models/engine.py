"""The engine alone, in batches, without streams or state: what its own code costs beside the bare loop.

Arguments and output as those of bench.models.bare.
"""

from __future__ import annotations

from functools import partial

from bench.models.loops import arguments, loop
from streamapp.engines.base import Engine
from streamapp.engines.pixel_colors import dominant_colors
from streamapp.engines.registry import load
from streamapp.media.image import decode
from streamapp.settings import Settings


def run(engine: Engine, raw: bytes, count: int, stages: frozenset[str]) -> None:
    """Look at so many copies of an image together."""
    pictures = [decode(raw, max_pixels=50_000_000, min_side=960) for _ in range(count)]
    if "clip" in stages:
        engine.vision.see(pictures)  # with the colours
    elif "colors" in stages:
        for picture in pictures:
            dominant_colors(picture)
    if "faces" in stages:
        engine.faces.faces(pictures)
    if "captions" in stages:
        engine.captioner.caption(pictures)


def main() -> None:
    """See the module's docstring."""
    asked = arguments("clip,colors,faces,captions").parse_args()
    settings = Settings(_env_file=None, engine="models", models_dir=asked.models, model_threads=asked.threads)
    loop(asked, partial(run, load(settings)))


if __name__ == "__main__":
    main()
