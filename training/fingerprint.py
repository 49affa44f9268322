"""What a checkpoint is, as one hash: the function it computes, not where or how it is stored."""

import hashlib
import json
from pathlib import Path
from typing import Any

from training import tensor_files
from training.errors import AdapterError, TensorFileError

# The fields of an adapter config that change what the adapter computes, with peft's defaults: a field that
# one version writes and another leaves out must not change the fingerprint.
FUNCTION_FIELDS: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 8,
    "use_rslora": False,
    "use_dora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": False,
    "bias": "none",
    "lora_bias": False,
}


def fingerprint_adapter(folder: Path) -> str:
    """Sha256 (hex) over the canonical config and the sorted tensors of an adapter in PEFT layout.

    Links are resolved; file names, file order, metadata, and config fields that do not change the function
    are left out. One changed weight changes it.

    Raises:
        AdapterError: the folder is missing, incomplete or broken.
    """
    config = read_adapter_config(folder)
    function = {key: default if config.get(key) is None else config[key] for key, default in FUNCTION_FIELDS.items()}
    function["lora_alpha"] = float(function["lora_alpha"])
    try:
        tensors = tensor_files.hash_tensors([adapter_file(folder)])
    except TensorFileError as error:
        raise AdapterError(f"the adapter is broken: {error.message}") from error
    canonical = json.dumps({"config": function, "tensors": tensors}, sort_keys=True)
    return hashlib.sha256(b"adapter\n" + canonical.encode()).hexdigest()


def adapter_file(folder: Path) -> Path:
    """The weights of an adapter: ``adapter_model.safetensors``, else the only safetensors file there.

    Raises:
        AdapterError: there is none, or the choice is not clear.
    """
    usual = folder / "adapter_model.safetensors"
    files = [usual] if usual.is_file() else sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        found = "no weights" if not files else "several weight files"
        raise AdapterError(f"{folder} holds {found}; an adapter has one adapter_model.safetensors")
    return files[0].resolve()


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """``adapter_config.json`` as a dict.

    Raises:
        AdapterError: it is missing or not a JSON object.
    """
    file = folder / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{file} is missing or cannot be read") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{file} is not a JSON object")
    return config
