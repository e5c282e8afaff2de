"""`make bench-models`: images/s of each stage and of the whole pipeline with engine `models`, against bare loops.

Real architectures, random weights, one photograph with a face, 640x480. Every ratio is of two runs one after the other
on this machine. The pipeline is the whole system, from the first XADD to the last result and aggregate in Redis:
bridge, Kafka, agents, state. There are no posts of a backend, so rows wait for theirs in PostgreSQL and no documents
are made. All of it shares the cores with the models; `cpu_ms` tells what each process takes of them for an image.
Where other work shares them too, images/s and their ratios mean little, and the ratio of these times still something.
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
PIPELINE = {WITHOUT: 640, WITH: 192}  # images; enough that the last batches, which leave a core idle, do not matter
WARM = {WITHOUT: 96, WITH: 16}  # images before them: those of a minute have Kafka's code compiled


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
        # A mute BLIP's twenty tokens would take 3 ms of code that the bare loop does not run.
        more = {"STREAMAPP_CAPTION_TOKENS": "1"} if models is mute else {}
        through = asyncio.run(_pipeline(models, photo.parent, PIPELINE[asked], warm=WARM[asked], more=more))
        again = _bare(real, photo, asked, COUNTS[asked])  # a machine that is busy with other things shows
        loop = (bare.images_per_second + again.images_per_second) / 2
        naive = _naive(real, photo, asked)
        whole["with captions" if asked == WITH else "without captions"] = {
            "pipeline": through,
            "bare": [bare.images_per_second, again.images_per_second],
            "bare_cpu_ms": [bare.cpu_ms, again.cpu_ms],
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


async def _pipeline(models: Path, images: Path, count: int, *, warm: int, more: Mapping[str, str]) -> dict[str, Any]:
    settings = {
        "STREAMAPP_ENGINE": "models",
        "STREAMAPP_MODELS_DIR": str(models),
        "STREAMAPP_ENGINE_THREADS": "1",
        "STREAMAPP_MODEL_THREADS": "1",
        "STREAMAPP_BATCH_SIZE": str(BATCH),
        "STREAMAPP_POST_TIMEOUT_SECONDS": "3600",
        **more,
    }
    with ExitStack() as stacked:
        environment = stacked.enter_context(running(INSTANCE, workers=CORES, settings=settings))
        url = stacked.enter_context(samples.serve(folder=images))
        async with Backend(environment) as backend:
            await pipeline.burst(backend, url, warm // pipeline.PER_POST, images=("photo",))
            before = _cpu_seconds()
            found = await pipeline.burst(backend, url, count // pipeline.PER_POST, images=("photo",))
            used = {name: seconds - before[name] for name, seconds in _cpu_seconds().items()}
            return {
                **found,
                "cpu_ms": {name: round(1000 * seconds / count, 1) for name, seconds in used.items()},
                "cores": round(sum(used.values()) * found["images_per_second"] / count, 2),
                "worker_peak_mib": _worker_peak(),
            }


def _processes() -> dict[str, psutil.Process]:
    """Those of the system by name, and the one that asks, serves the images and reads the results."""
    running = {state.name: psutil.Process(state.pid) for state in stack.status(INSTANCE) if state.pid is not None}
    return {**running, "driver": psutil.Process()}


def _cpu_seconds() -> dict[str, float]:
    """Of each process with its children, those that have ended too, since it was started."""
    found = {}
    for name, process in _processes().items():
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        found[name] = sum(map(sum, ((t.user, t.system, t.children_user, t.children_system) for t in times)))
    return found


def _worker_peak() -> int:
    """Peak resident memory of the largest worker, MiB."""
    workers = [process for name, process in _processes().items() if name.startswith("worker")]
    statuses = [Path(f"/proc/{process.pid}/status").read_text() for process in workers]
    return max(int(status.split("VmHWM:")[1].split()[0]) // 1024 for status in statuses)


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
