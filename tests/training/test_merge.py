"""A merged model says what base and adapter say, and is written whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from training.base import load_base, read_chat_template
from training.effect import PROBES, next_token_logits
from training.errors import AdapterError, Cancelled, PackError
from training.lora import read_adapter
from training.merge import FORMATS, TOLERANCE, merge, size_when_merged

CPU = torch.device("cpu")


def quietly(_done: int, _total: int, _message: str) -> None:
    pass


def merged(base: Path, adapter: Path, target: Path, number_format: str = "float32") -> float:
    target.mkdir()
    return merge(base, adapter, target, number_format, device="cpu", step=quietly)


@pytest.mark.parametrize("which", ["wide", "narrow", "dora"])
def test_it_says_what_peft_says(tiny_base: Path, adapters: dict[str, Path], which: str, tmp_path: Path) -> None:
    off = merged(tiny_base, adapters[which], tmp_path / "merged")
    model, tokenizer = load_base(tiny_base, CPU, torch.float32)
    without = next_token_logits(model, tokenizer, PROBES)
    expected = next_token_logits(PeftModel.from_pretrained(model, adapters[which]).eval(), tokenizer, PROBES)
    found = next_token_logits(*load_base(tmp_path / "merged", CPU, torch.float32), PROBES)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert float((expected - without).abs().max()) > 0.1
    assert off <= TOLERANCE["float32"]


@pytest.mark.parametrize("number_format", FORMATS)
def test_every_weight_is_added_up_in_float32_and_rounded_once(
    tiny_base: Path, adapters: dict[str, Path], number_format: str, tmp_path: Path
) -> None:
    off = merged(tiny_base, adapters["wide"], tmp_path / "merged", number_format)
    before = load_file(tiny_base / "model.safetensors")
    after = load_file(tmp_path / "merged/model.safetensors")
    pairs = read_adapter(adapters["wide"])
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        pair = pairs.get(name.removesuffix(".weight"))
        exact = tensor + pair.scale * (pair.b @ pair.a) if pair else tensor
        assert torch.equal(after[name], exact.to(FORMATS[number_format])), name
    assert json.loads((tmp_path / "merged/config.json").read_text())["dtype"] == number_format
    assert off <= TOLERANCE[number_format]
    size = (tmp_path / "merged/model.safetensors").stat().st_size
    assert size == pytest.approx(size_when_merged(tiny_base, number_format), rel=0.05)


def test_tokenizer_and_chat_template_go_along(tiny_base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    merged(tiny_base, adapters["wide"], tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "merged" / name).read_bytes() == (tiny_base / name).read_bytes()
    assert read_chat_template(tmp_path / "merged") == read_chat_template(tiny_base)


def test_a_base_of_several_files_stays_one(tiny_base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    sharded = Path(shutil.copytree(tiny_base, tmp_path / "sharded"))
    tensors = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for file, part in (("one.safetensors", names[::2]), ("two.safetensors", names[1::2])):
        save_file({name: tensors[name] for name in part}, sharded / file)
        weight_map |= dict.fromkeys(part, file)
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    merged(sharded, adapters["wide"], tmp_path / "merged")
    merged(tiny_base, adapters["wide"], tmp_path / "whole")
    of_several = next_token_logits(*load_base(tmp_path / "merged", CPU, torch.float32), PROBES)
    of_one = next_token_logits(*load_base(tmp_path / "whole", CPU, torch.float32), PROBES)
    assert torch.equal(of_several, of_one)
    assert len(list((tmp_path / "merged").glob("model-0000*-of-00002.safetensors"))) == 2


def spoilt(folder: Path, to: Path, **config: Any) -> Path:
    shutil.copytree(folder, to)
    file = to / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return to


def test_a_weight_that_two_layers_share_is_not_merged(
    tiny_base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    """Nothing would change but the name in the file: the head of a base with tied weights has none of its own."""
    adapter = Path(shutil.copytree(adapters["narrow"], tmp_path / "adapter"))
    tensors = load_file(adapter / "adapter_model.safetensors")
    first = next(name for name in tensors if "q_proj.lora_A" in name).removesuffix("lora_A.weight")
    for half in ("lora_A.weight", "lora_B.weight"):
        tensors[f"base_model.model.head.{half}"] = tensors.pop(first + half)
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(PackError, match="changes head, of which the base model has no weight of its own"):
        merged(tiny_base, adapter, tmp_path / "merged")
    assert list((tmp_path / "merged").iterdir()) == []


def test_a_quantised_base_is_refused(tiny_base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    base = spoilt(tiny_base, tmp_path / "base", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(PackError, match="is quantised"):
        merged(base, adapters["wide"], tmp_path / "merged")


def test_an_adapter_of_other_shapes_is_refused(tiny_base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(adapters["narrow"], tmp_path / "adapter"))
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in tensors if "q_proj.lora_A" in name)
    tensors[name] = tensors[name][:, :-1].contiguous()
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match=r"the shape of model\.layers\.\d\.self_attn\.q_proj differs"):
        merged(tiny_base, adapter, tmp_path / "merged")


def test_a_model_that_says_something_else_is_not_kept(
    tiny_base: Path, adapters: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an update that is added twice, the shapes fit and every number is finite."""
    monkeypatch.setattr("training.merge.save_file", twice)
    with pytest.raises(PackError, match="does not say what base and adapter say: a logit differs by"):
        merged(tiny_base, adapters["wide"], tmp_path / "merged")


def twice(tensors: dict[str, torch.Tensor], file: Path, metadata: dict[str, str]) -> None:
    changed = {name: tensor * 2 if "q_proj" in name else tensor for name, tensor in tensors.items()}
    save_file(changed, file, metadata=metadata)


def test_it_stops_when_it_is_told_to(tiny_base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    told = []

    def stop(done: int, total: int, message: str) -> None:
        told.append((done, total, message))
        if done == 1:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        merge(tiny_base, adapters["wide"], tmp_path, "float32", device="cpu", step=stop)
    assert told == [(0, 3, "Asking base and adapter"), (1, 3, "Merging file 1 of 1")]
    assert list(tmp_path.glob("*.safetensors")) == []
