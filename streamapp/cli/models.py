"""`streamapp models`: fetch, list and check the weights of engine `models`."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from streamapp.cli.progress import Progress
from streamapp.engines.probe import ProbeError, probe
from streamapp.engines.pull import Pulled, pull
from streamapp.engines.registry import loaders, part
from streamapp.engines.sources import source_of
from streamapp.engines.weights import (
    MODELS,
    Hub,
    Model,
    ModelsError,
    WeightsError,
    find,
    first_line,
    read_manifest,
    require_extra,
)
from streamapp.settings import Settings, get_settings

Found: TypeAlias = tuple[bool, Any, str]

NAMES = tuple(MODELS)
MB = 10**6


def pull_models(names: Sequence[str]) -> Found:
    """Fetch what is missing, wrong or old. Bad when one cannot be; the others are fetched all the same."""
    settings = get_settings()
    body: list[dict[str, Any]] = []
    lines: list[str] = []
    for name in _each(names):
        progress = Progress(name)
        model = MODELS[name]
        try:
            done = pull(
                model,
                settings.models_dir,
                source_of(model, settings),
                report=partial(progress, "bytes"),
                tell=partial(print, file=sys.stderr),
            )
        except ModelsError as error:
            body.append({"name": name, "error": str(error)})
            lines.append(f"{name}: {error}")
        else:
            body.append({"name": name, "fetched": done.fetched, **dataclasses.asdict(done.manifest)})
            lines.append(f"{name}: {_told(done)}")
        finally:
            progress.end()
    return all("error" not in each for each in body), body, "\n".join(lines)


def _told(done: Pulled) -> str:
    manifest = done.manifest
    size = sum(each.size for each in manifest.files.values())
    fetched = f"{done.fetched / MB:,.0f} of {size / MB:,.0f} MB fetched" if done.fetched else "all there"
    return f"{fetched}, {manifest.source} at {manifest.revision[:12]}, in {done.path}"


def list_models() -> Found:
    """What there is. Bad when something is wrong, or missing though engine `models` is set."""
    settings = get_settings()
    extra = _extra()
    models = [_listed(model, settings.models_dir) for model in MODELS.values()]
    states = {each["state"] for each in models}
    used = settings.engine == "models"
    good = "wrong" not in states and not (used and (extra is not None or "missing" in states))
    body = {"engine": settings.engine, "directory": str(settings.models_dir), "extra": extra, "models": models}
    lines = [f"engine {settings.engine}, weights in {settings.models_dir}"]
    lines += [f"the packages are missing: {extra}"] * (extra is not None)
    for each in models:
        size = f"{each['size'] / MB:,.1f} MB" if each["size"] else "-"
        lines.append(f"{each['name']:8} {each['state']:8} {each['revision'] or '-':12} {size:>8}  {each['purpose']}")
        lines.append(f"{'':8} from {each['source']}")
        lines += [f"{'':8} {each['error']}"] * (each["error"] is not None)
    return good, body, "\n".join(lines)


def _listed(model: Model, models_dir: Path) -> dict[str, Any]:
    path = models_dir / model.name
    told: dict[str, Any] = {"name": model.name, "purpose": model.purpose, "state": "present", "size": None}
    told |= {"revision": None, "source": _where(model), "licence": model.licence, "error": None}
    try:
        weights = find(models_dir, model.name)
        manifest = read_manifest(path)
    except WeightsError as error:
        there = (path / model.weights).exists()
        return told | {"state": "wrong" if there else "missing", "error": str(error)}
    told |= {"size": weights.file.stat().st_size, "revision": weights.revision}
    if manifest is None:
        return told | {"source": "a directory prepared elsewhere", "licence": None}
    return told | {
        "source": f"{manifest.source} at {manifest.revision[:12]}",
        "licence": manifest.licence or model.licence,
    }


def _where(model: Model) -> str:
    return model.source.repo if isinstance(model.source, Hub) else f"release {model.source.revision}"


def check_models(names: Sequence[str]) -> Found:
    """Load each and look at drawn pictures with it. Bad when one fails."""
    settings = get_settings()
    try:
        require_extra()
        loaders()  # so that the packages' own memory is not counted as a model's
    except ModelsError as error:
        return False, {"error": str(error)}, str(error)
    results = [_checked(name, settings) for name in _each(names)]
    lines = []
    for each in results:
        if each["error"] is not None:
            lines.append(f"{each['name']:8} FAILED   {each['error']}")
        else:
            lines.append(
                f"{each['name']:8} works    {each['model']}, loaded in {each['load_seconds']:.1f} s, "
                f"probed in {each['probe_seconds']:.1f} s, {each['memory'] / MB:,.0f} MB: {each['told']}"
            )
    return all(each["error"] is None for each in results), results, "\n".join(lines)


def _checked(name: str, settings: Settings) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "model": None, "told": None, "error": None}
    before, begun = _memory(), time.perf_counter()
    try:
        loaded = part(settings, name, find(settings.models_dir, name))
        ready = time.perf_counter()
        answer = probe(name, loaded, settings)
    except (ModelsError, ProbeError) as error:
        return told | {"error": str(error)}
    except Exception as error:  # whatever a library raises: the others are checked all the same
        return told | {"error": f"{type(error).__name__}: {first_line(error)}"}
    return told | {
        "model": loaded.model,
        "told": answer,
        "load_seconds": round(ready - begun, 3),
        "probe_seconds": round(time.perf_counter() - ready, 3),
        "memory": max(0, _memory() - before),
    }


def _memory() -> int:
    """Bytes this process has in memory; 0 where the system does not say it this way."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def _extra() -> str | None:
    try:
        require_extra()
    except ModelsError as error:
        return str(error)
    return None


def _each(names: Sequence[str]) -> list[str]:
    """The models that are named, each once; all without a name."""
    return [name for name in NAMES if not names or name in names]
