"""The weights of the models: which files they are, whether they are there, and whether they are right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
REVISION = 12  # hex digits of a weights file's sha256 that name it in results


PACKAGES = ("torch", "torchvision", "open_clip", "transformers", "facenet_pytorch", "huggingface_hub")
EXTRA = "pip install 'streamapp[models]'"


class ModelsError(Exception):
    """Engine `models` cannot be used as it is installed or set. One line: what is wrong, and what helps.

    Where a setting is wrong it names the variable, STREAMAPP_….
    """


class WeightsError(ModelsError):
    """A file of the weights is missing or wrong. One line: which file, and which command."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository of models with the protocol of the Hugging Face hub. revision: a branch or a commit."""

    repo: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Release:
    """One file at a URL, with a name of its version. Nobody publishes its checksum."""

    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What belongs to a model. Files are names in its directory; of each group of `needed` one must be there."""

    name: str
    purpose: str
    weights: str
    needed: tuple[tuple[str, ...], ...] = ()
    optional: tuple[str, ...] = ()
    source: Hub | Release
    licence: str
    """As is generally said of the weights; a repository's own word goes into the manifest."""


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="clip",
            purpose="moderation, tags, scenes, image and text vectors",
            weights="open_clip_model.safetensors",
            needed=(("open_clip_config.json",),),
            source=Hub("laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
            licence="MIT",
        ),
        Model(
            name="blip",
            purpose="captions",
            weights="model.safetensors",
            needed=(
                ("config.json",),
                ("preprocessor_config.json", "processor_config.json"),
                ("tokenizer.json", "vocab.txt"),
            ),
            optional=("tokenizer_config.json", "special_tokens_map.json", "generation_config.json"),
            source=Hub("Salesforce/blip-image-captioning-base"),
            licence="BSD-3-Clause",
        ),
        Model(
            name="facenet",
            purpose="face vectors (the detector comes with facenet-pytorch)",
            weights="20180402-114759-vggface2.pt",
            source=Release("v2.2.9"),
            licence="MIT; trained on VGGFace2, whose terms are research only",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that are there and right. file: in the directory `path`. revision: the first digits of its sha256."""

    path: Path
    file: Path
    revision: str


@dataclass(frozen=True, slots=True)
class Sum:
    """Bytes, and sha256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a pull fetched, beside the files. source: a URL. revision: its commit or version. licence: if known."""

    model: str
    source: str
    revision: str
    licence: str | None = None
    files: Mapping[str, Sum] = field(default_factory=dict)

    def text(self) -> str:
        """JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def find(models_dir: Path, name: str) -> Weights:
    """The weights of a model, every byte of them read.

    With a manifest all its files must be as it says. Without one (a directory that was prepared elsewhere) what is
    there is taken as it is. Raises WeightsError.
    """
    model = MODELS[name]
    path = models_dir / name
    file = path / model.weights
    try:
        for group in ((model.weights,), *model.needed):
            if not any((path / each).is_file() for each in group):
                raise WeightsError(f"{path / group[0]} is missing: `streamapp models pull {name}` fetches it")
        manifest = read_manifest(path)
        if manifest is None:
            return Weights(path, file, measure(file).sha256[:REVISION])
        if model.weights not in manifest.files:
            raise _wrong(path / MANIFEST, name, f"says nothing of {model.weights}")
        for each, wanted in manifest.files.items():
            if not (path / each).is_file():
                raise WeightsError(f"{path / each} is missing: `streamapp models pull {name}` fetches it")
            if (path / each).stat().st_size != wanted.size or measure(path / each) != wanted:
                raise _wrong(path / each, name, f"is not what {MANIFEST} says")
        return Weights(path, file, manifest.files[model.weights].sha256[:REVISION])
    except OSError as error:
        raise _wrong(Path(error.filename or path), name, f"cannot be read ({error.strerror})") from error


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in a model's directory, if there is one. Raises WeightsError, OSError."""
    try:
        raw: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        files = {each: Sum(int(told["size"]), str(told["sha256"])) for each, told in raw["files"].items()}
        return Manifest(
            model=raw["model"], source=raw["source"], revision=raw["revision"], licence=raw["licence"], files=files
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong(path / MANIFEST, path.name, "is damaged") from error


def measure(file: Path) -> Sum:
    """Size and sha256 of a file. Raises OSError."""
    with file.open("rb") as opened:
        digest = file_digest(opened, "sha256").hexdigest()
        return Sum(opened.tell(), digest)


def refetch(name: str) -> str:
    """What helps against files that are wrong."""
    return f"`streamapp models pull {name}` fetches it anew"


def _wrong(file: Path, name: str, how: str) -> WeightsError:
    return WeightsError(f"{file} {how}: {refetch(name)}")


def require_extra() -> None:
    """Raises ModelsError where the packages that run the models are not installed."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ModelsError(f"{', '.join(missing)} not installed, engine models needs it: {EXTRA}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line that is not empty."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
