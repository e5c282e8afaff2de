"""Where weights are fetched from: repositories of the Hugging Face hub, and files of a release."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from streamapp.engines.weights import Hub, Model, ModelsError, Release, Sum, first_line, measure, require_extra
from streamapp.settings import Settings

CHUNK = 2**20
SILENCE = 60.0  # seconds without a byte until a server counts as gone

Report: TypeAlias = Callable[[int, int], None]
"""Called with the bytes of a file that are there, and of how many (0: unknown)."""


class PullError(ModelsError):
    """Weights cannot be fetched; what was there is as it was. One line."""


class Interrupted(PullError):
    """A connection failed or ended early: another attempt may do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of a file before it is fetched. blob: its name in git, a sha1, for files that are not in LFS."""

    size: int | None = None
    sha256: str | None = None
    blob: str | None = None

    def met_by(self, file: Path) -> Sum | None:
        """The file's sums if it is what was expected. Raises OSError."""
        if not file.is_file() or self.size not in (None, file.stat().st_size):
            return None
        found = measure(file)
        if self.sha256 is not None:
            return found if found.sha256 == self.sha256 else None
        return found if self.blob in (None, _blob(file)) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a source has. revision: of the source, a commit or a version."""

    source: str
    revision: str
    licence: str | None
    files: Mapping[str, Expected]


class Source(Protocol):
    """Gives files."""

    def published(self) -> Published:
        """What there is to fetch. Raises PullError."""
        ...

    def fetch(self, file: str, directory: Path, report: Report) -> None:
        """Write the file into the directory. Raises PullError, OSError."""
        ...


def source_of(model: Model, settings: Settings) -> Source:
    """Where the model comes from."""
    if isinstance(model.source, Hub):
        return Repository(model, model.source)
    return ReleasedFile(model, model.source, url=settings.models_facenet_url)


class Repository:
    """A repository of a hub, through huggingface_hub: its cache, token and proxy settings count.

    endpoint: URL of the hub; None is that of HF_ENDPOINT.
    """

    def __init__(self, model: Model, hub: Hub, *, endpoint: str | None = None) -> None:
        self._model = model
        self._hub = hub
        self._endpoint = endpoint
        self._url = hub.repo
        self._commit = ""

    def published(self) -> Published:
        """The commit that the revision means now, and its files with their sums."""
        require_extra()
        from huggingface_hub import HfApi

        api, hub = HfApi(endpoint=self._endpoint), self._hub
        self._url = f"{api.endpoint}/{hub.repo}"
        info = self._asking(lambda: api.model_info(hub.repo, revision=hub.revision, files_metadata=True))
        there = {each.rfilename: each for each in info.siblings or ()}
        if not info.sha:
            raise PullError(f"{self._url} does not say which commit {hub.revision} is")
        self._commit = info.sha
        model = self._model
        for group in ((model.weights,), *model.needed):
            if not any(each in there for each in group):
                raise PullError(f"{self._url} at {self._commit} has no file {group[0]}")
        wanted = (model.weights, *(each for group in model.needed for each in group), *model.optional)
        return Published(
            source=self._url,
            revision=self._commit,
            licence=getattr(info.card_data, "license", None),
            files={name: _expected(there[name]) for name in wanted if name in there},
        )

    def fetch(self, file: str, directory: Path, report: Report) -> None:
        """As of the commit that published() named."""
        from huggingface_hub import hf_hub_download

        self._asking(
            lambda: hf_hub_download(
                self._hub.repo,
                file,
                revision=self._commit,
                local_dir=directory,
                endpoint=self._endpoint,
                tqdm_class=_bar(report),
            )
        )

    def _asking(self, ask: Callable[[], Any]) -> Any:
        """What the hub answers; errors of its client, many of them of several lines, as one."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return ask()
        except HfHubHTTPError as error:
            url = str(error.response.url).partition("?")[0]  # the rest may be a signature
            raise PullError(f"{error.response.status_code} from {url}") from error
        except Exception as error:  # of its own, of its HTTP client and of the storage behind, without a common base
            raise Interrupted(f"{self._url}: {first_line(error)}") from error


def _expected(file: Any) -> Expected:
    lfs = file.lfs
    return Expected(size=file.size, sha256=lfs.sha256) if lfs else Expected(size=file.size, blob=file.blob_id)


def _blob(file: Path) -> str:
    content = file.read_bytes()
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()  # git's name of it


def _bar(report: Report) -> type[Any]:
    """What the hub's client takes for a progress bar; it may make two for one file (received, and put together)."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    most = 0

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *_: object, **options: Any) -> None:
            super().__init__(total=options.get("total"), initial=options.get("initial") or 0, disable=True)

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal most
            self.n += n or 0
            if self.n > most:
                most = int(self.n)
                report(most, int(self.total or 0))
            return None

    return Bar


class ReleasedFile:
    """A file at a URL."""

    def __init__(self, model: Model, release: Release, *, url: str) -> None:
        self._model = model
        self._release = release
        self._url = url

    def published(self) -> Published:
        """Only that there is such a file: nothing is asked, and no sum is known."""
        return Published(
            source=self._url, revision=self._release.revision, licence=None, files={self._model.weights: Expected()}
        )

    def fetch(self, file: str, directory: Path, report: Report) -> None:
        """One request, from the first byte."""
        request = Request(self._url, headers={"User-Agent": "streamapp"})  # noqa: S310  # the setting admits http(s) only
        try:
            with urlopen(request, timeout=SILENCE) as answer, (directory / file).open("wb") as out:  # noqa: S310
                total = int(answer.headers.get("Content-Length") or 0)
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    report(out.tell(), total)
                if total and out.tell() != total:
                    raise Interrupted(f"{self._url} ended after {out.tell():,} of {total:,} bytes")
        except HTTPError as error:
            raise PullError(f"{self._url}: {first_line(error)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"{self._url}: {first_line(error)}") from error
