"""Fetch the weights of a model: complete and checked, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streamapp.engines.sources import Expected, Interrupted, Published, PullError, Report, Source
from streamapp.engines.weights import (
    MANIFEST,
    Manifest,
    Model,
    Sum,
    WeightsError,
    find,
    first_line,
    measure,
    read_manifest,
)

WAITS = (1.0, 5.0)  # seconds before the second and the third attempt at a file whose connection failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of a pull. fetched: bytes; 0 where all was there."""

    manifest: Manifest
    path: Path
    fetched: int


def pull(model: Model, models_dir: Path, source: Source, *, report: Report, tell: Callable[[str], None]) -> Pulled:
    """Make models_dir/NAME what the source has now, with a manifest.

    Files are fetched into a directory beside it, checked, and take its place together: whoever loads the model
    meanwhile sees the old files or the new ones or none, never some of each. Killed anywhere, the next pull goes on
    with the files that were complete. Two pulls of a model take turns; `tell` is given a line when this one waits.
    Raises ModelsError; what was there then still is.
    """
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with _alone(models_dir / f".{model.name}.lock", tell):
            return _pull(model, models_dir, source, report)
    except OSError as error:
        raise PullError(f"{model.name} cannot be pulled: {first_line(error)}") from error


def _pull(model: Model, models_dir: Path, source: Source, report: Report) -> Pulled:
    path, part, aside = models_dir / model.name, models_dir / f".{model.name}.part", models_dir / f".{model.name}.old"
    if aside.exists() and not path.exists():  # killed in _put
        aside.rename(path)
    published = source.published()
    known = _known(path)
    if known and known.revision == published.revision:
        with suppress(WeightsError):
            find(models_dir, model.name)
            return Pulled(manifest=known, path=path, fetched=0)
        published = _trusted(published, known)
    part.mkdir(exist_ok=True)
    _keep_own(path, model, published.files[model.weights].sha256)
    sums, fetched = _gather(source, published, path, part, report)
    _keep_own(path, model, sums[model.weights].sha256)
    manifest = Manifest(
        model=model.name,
        source=published.source,
        revision=published.revision,
        licence=published.licence,
        files=sums,
    )
    (part / MANIFEST).write_text(manifest.text())
    _put(part, path, aside=aside)
    return Pulled(manifest=manifest, path=path, fetched=fetched)


def _gather(source: Source, published: Published, path: Path, part: Path, report: Report) -> tuple[dict[str, Sum], int]:
    """All files into `part`, and nothing else: from there, from the model's directory, or from the source."""
    for leftover in [each for each in part.iterdir() if each.name not in published.files]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    total = sum(each.size or 0 for each in published.files.values())
    sums: dict[str, Sum] = {}
    before = fetched = 0
    for file, expected in published.files.items():
        known = _there(expected, path / file, part / file)
        if known is None:
            (part / file).unlink(missing_ok=True)
            _fetch(source, file, part, partial(_report, report, before, total))
            known = expected.met_by(part / file)
            if known is None:
                (part / file).unlink(missing_ok=True)
                told = f"{file} from {published.source} has not the size and checksum that it should have"
                # Where the source has no sums, what the first pull got is held to be right; it need not have been.
                raise PullError(f"{told}; move {path} away to begin anew")
            fetched += known.size
        sums[file] = known
        before += known.size
    shutil.rmtree(part / ".cache", ignore_errors=True)  # the hub's client keeps notes there
    return sums, fetched


def _fetch(source: Source, file: str, part: Path, report: Report) -> None:
    for wait in WAITS:
        try:
            source.fetch(file, part, report)
            return
        except Interrupted:
            time.sleep(wait)
    source.fetch(file, part, report)


def _report(report: Report, before: int, total: int, done: int, of: int) -> None:
    """Tell of a file as part of all files."""
    total = total or before + of
    report(min(before + done, total), total)


def _there(expected: Expected, old: Path, new: Path) -> Sum | None:
    """The sums of a file that need not be fetched; it is at `new` then."""
    if expected.sha256 is None and expected.blob is None:
        return None
    if (known := expected.met_by(new)) is not None:
        return known
    if (known := expected.met_by(old)) is not None:
        new.unlink(missing_ok=True)
        try:
            os.link(old, new)
        except OSError:  # a file system without links
            shutil.copy2(old, new)
    return known


def _known(path: Path) -> Manifest | None:
    """What the last pull said; a damaged manifest says nothing."""
    try:
        return read_manifest(path)
    except WeightsError:
        return None


def _trusted(published: Published, known: Manifest) -> Published:
    """With the sums of the first pull of this very revision, where the source publishes none."""
    files = {
        file: expected
        if expected.sha256 or expected.blob or file not in known.files
        else Expected(size=known.files[file].size, sha256=known.files[file].sha256)
        for file, expected in published.files.items()
    }
    return Published(source=published.source, revision=published.revision, licence=published.licence, files=files)


def _keep_own(path: Path, model: Model, digest: str | None) -> None:
    """Raises PullError instead of replacing weights that no pull has put there, unless they are the same."""
    weights = path / model.weights
    if digest is None or (path / MANIFEST).exists() or not weights.is_file() or measure(weights).sha256 == digest:
        return
    raise PullError(f"{weights} was not fetched by a pull and differs from what is published: move it away first")


def _put(part: Path, path: Path, *, aside: Path) -> None:
    """`part` takes the place of `path`. Killed between the two steps, the next pull takes the first back."""
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(aside)
    part.rename(path)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _alone(lock: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that ends with the process."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"another pull holds {lock}, waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
