"""Packages appear whole or not at all, and only of the adapter that was registered."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from training import packing
from training.errors import AdapterError, Cancelled, PackError
from training.fingerprint import fingerprint_adapter
from training.packing import KINDS, Wanted, pack


def quietly(_done: int, _total: int, _message: str) -> None:
    pass


@pytest.fixture
def wanted(tiny_base: Path, adapters: dict[str, Path]) -> Wanted:
    adapter = adapters["wide"]
    return Wanted("adapter", tiny_base, adapter, fingerprint_adapter(adapter), "cheese/epoch-2", "# A card 🧀\n")


def test_each_kind_holds_its_files_and_the_card(wanted: Wanted, tmp_path: Path) -> None:
    files = {}
    for kind in KINDS:
        packed = pack(replace(wanted, kind=kind), tmp_path / kind, device="cpu", step=quietly)
        files[kind] = {file.name for file in (tmp_path / kind).iterdir()}
        assert (tmp_path / kind / "README.md").read_text(encoding="utf-8") == "# A card 🧀\n"
        assert packed.size_bytes == sum(file.stat().st_size for file in (tmp_path / kind).iterdir())
        assert (packed.off is None) == (kind != "merged")
    assert files["adapter"] == {"adapter_model.safetensors", "adapter_config.json", "manifest.json", "README.md"}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= files["merged"]
    assert files["gguf"] == {"cheese-epoch-2.gguf", "README.md"}
    assert fingerprint_adapter(tmp_path / "adapter") == wanted.fingerprint
    assert len(gguf.GGUFReader(tmp_path / "gguf/cheese-epoch-2.gguf").tensors) > 0
    assert {path.name for path in tmp_path.iterdir()} == set(KINDS)


def test_weights_that_changed_since_they_were_registered_are_not_packed(wanted: Wanted, tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(wanted.adapter_folder, tmp_path / "adapter"))
    content = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    content[-1] ^= 1
    (adapter / "adapter_model.safetensors").write_bytes(content)
    for kind in KINDS:
        with pytest.raises(AdapterError, match="weights changed since it was registered"):
            pack(replace(wanted, kind=kind, adapter_folder=adapter), tmp_path / kind, device="cpu", step=quietly)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter"}


def test_nothing_half_written_remains(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(done: int, _total: int, _message: str) -> None:
        if done == 2:
            raise Cancelled("stopped")

    def full(_file: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Cancelled):
        pack(replace(wanted, kind="merged"), tmp_path / "merged", device="cpu", step=stop)
    monkeypatch.setattr(packing.checkpoint, "write_file", full)
    with pytest.raises(PackError, match=r"could not be written \(the disk is full\); nothing of it was kept"):
        pack(wanted, tmp_path / "adapter", device="cpu", step=quietly)
    assert list(tmp_path.iterdir()) == []


def test_a_merge_that_does_not_fit_on_the_disk_is_not_begun(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(PackError, match=r"GB are free, so nothing was written"):
        pack(replace(wanted, kind="merged"), tmp_path / "merged", device="cpu", step=quietly)
    assert list(tmp_path.iterdir()) == []


def test_what_an_attempt_left_behind_gives_way(wanted: Wanted, tmp_path: Path) -> None:
    for left in ("done", ".done.partial"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "old").write_text("old")
    pack(wanted, tmp_path / "done", device="cpu", step=quietly)
    assert not (tmp_path / "done/old").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"done"}
