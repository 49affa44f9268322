"""Honest uploads in every form that people send, and what is kept of them."""

import dataclasses
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save

from tests.training.intake.packing import CONFIG, WEIGHTS, Honest, honest, sent, tarred, zipped
from training.base import load_base
from training.checkpoint import MANIFEST, read_manifest
from training.effect import measure_effect
from training.fingerprint import fingerprint_adapter
from training.intake.bases import ToldBase
from training.intake.take import Adapter, read_upload, store_copy
from training.lora import PREFIX, read_adapter
from training.masked_lora import MaskedLora


@pytest.fixture(scope="session")
def good(adapters: dict[str, Path]) -> Honest:
    return honest(adapters["wide"])


def packed_folder(good: Honest) -> bytes:
    """As a Mac packs a folder: the folder itself, and its own notes beside everything."""
    files = {f"adapter/{name}": data for name, data in good.files().items()}
    noise = {"__MACOSX/adapter/._adapter_config.json": b"\0\5\x16\7", "adapter/.DS_Store": b"x"}
    return zipped({"adapter/": b"", **files, **noise, "adapter/README.md": b"# Mine"})


def packed_by_python(good: Honest) -> bytes:
    """With an extended header for every time, and a name too long for the old ones."""
    folder = tarfile.TarInfo("x" * 120 + "/")
    folder.type, folder.mtime = tarfile.DIRTYPE, 1.5  # type: ignore[assignment]
    return tarred({f"{'x' * 120}/{name}": data for name, data in good.files().items()}, folder)


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (lambda good: zipped(good.files()), "adapter.zip"),
        (packed_folder, "adapter.zip"),
        (lambda good: tarred(good.files()), "adapter.tar.gz"),
        (packed_by_python, "adapter.tgz"),
        (lambda good: good.files(), ""),
    ],
)
def test_an_adapter_arrives_the_same_however_it_is_packed(
    pack: Callable[[Honest], bytes], name: str, good: Honest, adapters: dict[str, Path], tmp_path: Path
) -> None:
    adapter = read_upload(sent(tmp_path / "sent", pack(good), name), tmp_path / "scratch")
    stored = store_copy(adapter, "tiny", tmp_path / "stored")
    assert stored.fingerprint == fingerprint_adapter(adapters["wide"])
    assert {file.name for file in stored.folder.iterdir()} == {CONFIG, WEIGHTS}
    assert stored.size_bytes == sum(file.stat().st_size for file in stored.folder.iterdir())
    ours = load_file(stored.folder / WEIGHTS)
    assert ours.keys() == good.tensors.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in good.tensors.items())


def taken(good: Honest, folder: Path, **config: object) -> Adapter:
    return read_upload(sent(folder / "sent", zipped(good.files(config=config)), "adapter.zip"), folder / "scratch")


def test_a_pattern_is_never_run_and_the_tensors_say_which_layers(good: Honest, tmp_path: Path) -> None:
    """On the names of its own layers this pattern would not end before the sun does."""
    adapter = taken(good, tmp_path, target_modules="(.*.*.*)*(([a-z._0-9]+)+)+!", exclude_modules="((x+)+)+y")
    stored = store_copy(adapter, "tiny", tmp_path / "stored")
    config = json.loads((stored.folder / CONFIG).read_text())
    layers = {name.removeprefix(PREFIX).split(".lora_")[0] for name in good.tensors}
    assert config["target_modules"] == sorted(layers)
    assert "exclude_modules" not in config


@pytest.mark.parametrize("start", [True, False, "gaussian", "orthogonal"])
def test_how_an_adapter_began_is_forgotten(start: object, good: Honest, tmp_path: Path) -> None:
    stored = store_copy(taken(good, tmp_path, init_lora_weights=start), "tiny", tmp_path / "stored")
    assert json.loads((stored.folder / CONFIG).read_text())["init_lora_weights"] is True


def test_what_says_nothing_of_the_function_is_dropped(good: Honest, tmp_path: Path) -> None:
    notes = {"auto_mapping": {"parent_library": "os"}, "revision": "main", "task_type": None, "lora_dropout": 0.1}
    adapter = taken(good, tmp_path, **notes, base_model_name_or_path="somebody/their-model")
    stored = store_copy(adapter, "tiny", tmp_path / "stored")
    config = json.loads((stored.folder / CONFIG).read_text())
    assert not {"auto_mapping", "revision"} & config.keys()
    assert (config["task_type"], config["base_model_name_or_path"]) == ("CAUSAL_LM", "tiny")
    assert adapter.told == ToldBase("somebody/their-model", "")


def test_a_checkpoint_of_an_arena_says_which_base_model_it_sits_on(
    adapters: dict[str, Path], good: Honest, tmp_path: Path
) -> None:
    manifest = (adapters["wide"] / MANIFEST).read_bytes()
    files = sent(tmp_path / "sent", zipped({**good.files(), MANIFEST: manifest}), "adapter.zip")
    told = read_upload(files, tmp_path / "scratch").told
    assert told.weights_hash == read_manifest(adapters["wide"]).facts.base.weights


def mlx_files(good: Honest, scale: float) -> dict[str, bytes]:
    """The same adapter as mlx-lm writes it: both matrices the other way round, and a plain factor."""
    turned = {
        name.removeprefix(PREFIX).replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b"): tensor.T
        for name, tensor in good.tensors.items()
    }
    config = {
        "fine_tune_type": "lora",
        "model": "mlx-community/tiny",
        "num_layers": 2,
        "lora_parameters": {"rank": 4, "scale": scale, "dropout": 0.0, "keys": ["self_attn.q_proj"]},
        "learning_rate": 1e-5,
    }
    weights = save({name: tensor.contiguous() for name, tensor in turned.items()})
    return {CONFIG: json.dumps(config).encode(), "adapters.safetensors": weights}


def test_an_adapter_of_mlx_lm_becomes_the_same_function(
    good: Honest, adapters: dict[str, Path], tmp_path: Path
) -> None:
    files = sent(tmp_path / "sent", mlx_files(good, scale=2.0), "")
    adapter = read_upload(files, tmp_path / "scratch")
    stored = store_copy(adapter, "tiny", tmp_path / "stored")
    ours, original = read_adapter(stored.folder), read_adapter(adapters["wide"])
    assert ours.keys() == original.keys()
    inputs = np.random.default_rng(0).standard_normal(64, dtype=np.float32)
    x = torch.from_numpy(inputs)
    for layer, pair in original.items():
        if pair.a.shape[1] != len(x):
            continue
        told = mlx_update(good, layer, x, scale=2.0)
        mine = ours[layer].scale * (ours[layer].b @ (ours[layer].a @ x))
        assert torch.allclose(mine, told, atol=1e-6)
        assert torch.allclose(pair.scale * (pair.b @ (pair.a @ x)), told, atol=1e-6)
    assert stored.fingerprint == fingerprint_adapter(adapters["wide"])


def mlx_update(good: Honest, layer: str, x: torch.Tensor, scale: float) -> torch.Tensor:
    """As mlx-lm computes it: scale · ((x lora_a) lora_b)."""
    a, b = good.tensors[f"{PREFIX}{layer}.lora_A.weight"].T, good.tensors[f"{PREFIX}{layer}.lora_B.weight"].T
    return scale * ((x @ a) @ b)


@pytest.mark.parametrize("kind", ["dora", "full"])
def test_another_method_of_mlx_lm_is_refused(kind: str, good: Honest, tmp_path: Path) -> None:
    files = mlx_files(good, scale=2.0)
    files[CONFIG] = json.dumps({**json.loads(files[CONFIG]), "fine_tune_type": kind}).encode()
    with pytest.raises(Exception, match=f"fine_tune_type “{kind}”"):
        read_upload(sent(tmp_path / "sent", files, ""), tmp_path / "scratch")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_weights_are_kept_as_they_are(
    dtype: torch.dtype, good: Honest, tiny_base: Path, tmp_path: Path
) -> None:
    narrow = dataclasses.replace(good, tensors={name: tensor.to(dtype) for name, tensor in good.tensors.items()})
    stored = store_copy(taken(narrow, tmp_path), "tiny", tmp_path / "stored")
    assert {tensor.dtype for tensor in load_file(stored.folder / WEIGHTS).values()} == {dtype}
    assert measure_effect(tiny_base, stored.folder).passed


def test_peft_loads_our_copy_to_the_same_function_and_leaves_the_base_alone(
    good: Honest, tiny_base: Path, tmp_path: Path
) -> None:
    """Of an upload whose config asks for more than it gets."""
    adapter = taken(good, tmp_path, target_modules=".*", init_lora_weights="gaussian", revision="main")
    stored = store_copy(adapter, "tiny", tmp_path / "stored")
    device = torch.device("cpu")
    model, _ = load_base(tiny_base, device, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stack, _ = load_base(tiny_base, device, torch.float32)
    masked = MaskedLora(stack, {"ours": read_adapter(stored.folder)})
    ids = torch.arange(40)[None]
    with torch.no_grad(), masked.rows(["ours"]):
        ours = stack(input_ids=ids, use_cache=False).logits
    theirs = PeftModel.from_pretrained(model, stored.folder)
    with torch.no_grad():
        assert torch.allclose(theirs(input_ids=ids, use_cache=False).logits, ours, atol=1e-5)
    kept = {name.replace(".base_layer", ""): tensor for name, tensor in model.state_dict().items()}
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.items())
