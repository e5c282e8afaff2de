"""The engine alone, in batches, without streams or state: what its own code costs beside the bare loop.

Arguments and output as those of bench.models.bare.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

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
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stages", default="clip,colors,faces,captions")
    asked = parser.parse_args()
    settings = Settings(_env_file=None, engine="models", models_dir=asked.models, model_threads=asked.threads)
    engine, stages, raw = load(settings), frozenset(asked.stages.split(",")), asked.image.read_bytes()
    run(engine, raw, asked.batch, stages)  # warm
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    for start in range(0, asked.count, asked.batch):
        run(engine, raw, min(asked.batch, asked.count - start), stages)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"images": asked.count, "seconds": seconds, "peak_mib": round(peak)}))


if __name__ == "__main__":
    main()
