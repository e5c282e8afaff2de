"""`make bench-models`: images/s of each stage and of the whole pipeline with engine `models`, against bare loops.

Real architectures, random weights, one photograph with a face, 640x480. Every ratio is of two runs one after the other
on this machine. The pipeline is the whole system: Redis, bridge, Kafka, agents, state, results, rows, documents; all of
it shares the cores with the models.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from skimage import data

import samples
import stack
from bench import machine, pipeline
from bench.models import weights
from bench.models.loops import Rate, together
from demo.backend import Backend
from demo.instance import running
from streamapp.engines.torch_runtime import choose_dtype

INSTANCE = "bench-models"
BATCH, CORES = 8, 2  # processes of one thread each, which the facts of this hardware favour over one of two threads
STAGES = {"clip": "clip,colors", "faces": "faces", "captions": "captions"}
WITHOUT, WITH = "clip,colors,faces", "clip,colors,faces,captions"
COUNTS = {"clip": 160, "faces": 96, "captions": 16, WITHOUT: 80, WITH: 24}  # images of each process: about ten seconds
NAIVE = 8
# Images; enough that it does not matter how evenly their keys are spread over the workers.
PIPELINE = {WITHOUT: 400, WITH: 192}


def measure(folder: Path) -> dict[str, Any]:
    """All figures."""
    photo = _photo(folder / "images")
    real = weights.write(folder / "real")
    mute = folder / "mute"  # real but for captions, which cost nothing there
    weights.mute(mute / "blip")
    for name in ("clip", "facenet"):
        (mute / name).symlink_to(real / name)
    stages = {name: _stage(real, photo, asked, COUNTS[name]) for name, asked in STAGES.items()}
    whole = {}
    for asked, models in ((WITHOUT, mute), (WITH, real)):
        bare = _bare(real, photo, asked, COUNTS[asked])
        through = asyncio.run(_pipeline(models, photo.parent, PIPELINE[asked]))
        again = _bare(real, photo, asked, COUNTS[asked])  # a machine that is busy with other things shows
        loop = (bare.images_per_second + again.images_per_second) / 2
        naive = _naive(real, photo, asked)
        whole["with captions" if asked == WITH else "without captions"] = {
            "pipeline": through,
            "bare": [bare.images_per_second, again.images_per_second],
            "naive": naive.images_per_second,
            "of_bare": round(through["images_per_second"] / loop, 2),
            "of_naive": round(through["images_per_second"] / naive.images_per_second, 2),
            "bare_peak_mib": bare.peak_mib,
        }
    return {"batch": BATCH, "processes": CORES, "dtype": _dtype(), "stages": stages, "whole": whole}


def _photo(folder: Path) -> Path:
    """A photograph with one face, 640x480."""
    folder.mkdir()
    image = Image.new("RGB", (640, 480), (90, 110, 130))
    image.paste(Image.fromarray(data.astronaut()).resize((480, 480)), (80, 0))
    image.save(folder / "photo.jpg", quality=90)
    return folder / "photo.jpg"


def _stage(models: Path, photo: Path, asked: str, count: int) -> dict[str, float]:
    bare, naive = _bare(models, photo, asked, count), _naive(models, photo, asked)
    arguments = [str(models), str(photo), str(count), "--batch", str(BATCH), "--stages", asked]
    engine = together("bench.models.engine", arguments, processes=CORES)
    return {
        "engine": engine.images_per_second,
        "bare": bare.images_per_second,
        "naive": naive.images_per_second,
        "of_bare": round(engine.images_per_second / bare.images_per_second, 2),
        "of_naive": round(engine.images_per_second / naive.images_per_second, 2),
        "peak_mib": engine.peak_mib,
    }


def _bare(models: Path, photo: Path, asked: str, count: int) -> Rate:
    arguments = [str(models), str(photo), str(count), "--batch", str(BATCH), "--stages", asked, "--dtype", _dtype()]
    return together("bench.models.bare", arguments, processes=CORES)


def _naive(models: Path, photo: Path, asked: str) -> Rate:
    """One process with all cores, an image at a time, float32, nothing set."""
    arguments = [str(models), str(photo), str(NAIVE), "--batch", "1", "--stages", asked, "--dtype", "float32"]
    return together("bench.models.bare", [*arguments, "--naive", "--threads", str(CORES)], processes=1)


def _dtype() -> str:
    import torch

    return str(choose_dtype("auto", torch.device("cpu"))).removeprefix("torch.")


async def _pipeline(models: Path, images: Path, count: int) -> dict[str, Any]:
    settings = {
        "STREAMAPP_ENGINE": "models",
        "STREAMAPP_MODELS_DIR": str(models),
        "STREAMAPP_ENGINE_THREADS": "1",
        "STREAMAPP_MODEL_THREADS": "1",
        "STREAMAPP_BATCH_SIZE": str(BATCH),
        "STREAMAPP_POST_TIMEOUT_SECONDS": "3600",
    }
    with ExitStack() as stacked:
        environment = stacked.enter_context(running(INSTANCE, workers=CORES, settings=settings))
        url = stacked.enter_context(samples.serve(folder=images))
        async with Backend(environment) as backend:
            await pipeline.burst(backend, url, 2 * BATCH, images=("photo",))  # warm
            posts = count // pipeline.PER_POST
            return {**await pipeline.burst(backend, url, posts, images=("photo",)), **_memory(environment)}


def _memory(environment: Mapping[str, str]) -> dict[str, int]:
    """Peak resident memory of the workers, MiB."""
    peaks = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "worker" in command and "streamapp" in command:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peaks.append(int(status.split("VmHWM:")[1].split()[0]) // 1024)
    return {"worker_peak_mib": max(peaks, default=0)}


def main() -> int:
    """0 when everything was measured."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder))
    except (stack.StackError, TimeoutError, RuntimeError) as exc:
        print(f"The bench failed: {exc}", file=sys.stderr)
        return 1
    print(json.dumps({"machine": machine.machine(), **figures}, indent=2))
    print(f"kept in {machine.keep(figures, name='models')}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
