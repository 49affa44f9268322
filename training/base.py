"""The base model: which device and number format it runs in, what it is (hashes), and loading it."""

import hashlib
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from training import chat, quantized, tensor_files
from training.errors import BaseModelError, TensorFileError

# What loading libraries raise about a folder that is not a whole model.
LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    SafetensorError,
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BF16_COMPUTE_CAPABILITY = (8, 0)
logging.disable_progress_bar()


@dataclass(frozen=True, slots=True)
class BaseHashes:
    """Sha256 (hex) of what makes a base model what it is."""

    weights: str
    tokenizer: str
    chat_template: str


def pick_device(wanted: str = "auto") -> torch.device:
    """``auto`` takes the first of cuda, mps, cpu that is there; anything else is taken by name.

    Raises:
        BaseModelError: the named device does not exist here.
    """
    if wanted == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        return torch.empty(1, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        raise BaseModelError(f'the device "{wanted}" cannot be used on this machine; choose "auto"') from error


def pick_dtype(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """Bfloat16 where the device computes in it natively, float32 elsewhere (emulation was 6 times slower).

    Raises:
        BaseModelError: ``wanted`` is none of auto, float32, bfloat16.
    """
    if wanted != "auto":
        if wanted not in DTYPES:
            raise BaseModelError(f'there is no number format "{wanted}" here; choose auto, float32 or bfloat16')
        return DTYPES[wanted]
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= BF16_COMPUTE_CAPABILITY
    else:
        native = device.type == "cpu" and bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())
    return torch.bfloat16 if native else torch.float32


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a base model, links resolved.

    Raises:
        BaseModelError: the folder or its weights are missing, or the weights are in another format.
    """
    if not folder.is_dir():
        raise BaseModelError(f"there is no base model in {folder}; add it again")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BaseModelError(f"{index} cannot be read; fetch the base model again") from error
        return [(folder / name).resolve() for name in sorted(names)]
    single = folder / "model.safetensors"
    files = [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise BaseModelError(f"{folder} holds no safetensors weights; other formats are not accepted")
    return [file.resolve() for file in files]


def hash_base(folder: Path) -> BaseHashes:
    """Hash weights, tokenizer and chat template. Streams, so it needs little memory for any size.

    Raises:
        BaseModelError: something is missing or broken.
    """
    try:
        weights = tensor_files.hash_tensors(weight_files(folder))
        return BaseHashes(weights, _hash_tokenizer(folder), _sha256(read_chat_template(folder) or ""))
    except TensorFileError as error:
        raise BaseModelError(f"the base model is broken: {error.message}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BaseModelError(f"the base model in {folder} cannot be read: {error}") from error


def read_chat_template(folder: Path) -> str | None:
    """The chat template as stored beside the tokenizer, or None."""
    own_file = folder / "chat_template.jinja"
    if own_file.is_file():
        return own_file.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    template = json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
    if isinstance(template, list):  # several named templates: the one called default is the one applied
        return next((entry["template"] for entry in template if entry["name"] == "default"), None)
    return template


def load_base(folder: Path, device: torch.device, dtype: torch.dtype, *, load_in_4bit: bool = False) -> tuple[Any, Any]:
    """Load (model, tokenizer) from a local folder, frozen: safetensors only, no code from the folder, no network.

    ``load_in_4bit``: its linear layers quantised on the way, see ``training.quantized``.

    Raises:
        BaseModelError: anything is missing, broken, or would have been filled in at random.
    """
    weight_files(folder)
    options = quantized.loading_options(device, dtype) if load_in_4bit else {}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            attn_implementation="sdpa",
            output_loading_info=True,
            **options,
        )
    except LOADING_ERRORS as error:
        raise BaseModelError(f"the base model in {folder} cannot be loaded: {_first_line(error)}") from error
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise BaseModelError(f"the base model in {folder} is incomplete: it lacks {missing}; fetch it again")
    model = model if load_in_4bit else model.to(device)  # four bits are where they belong already
    return model.eval().requires_grad_(requires_grad=False), load_tokenizer(folder)


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer alone.

    Raises:
        BaseModelError: it is missing or broken.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except LOADING_ERRORS as error:
        raise BaseModelError(f"the tokenizer in {folder} cannot be loaded: {_first_line(error)}") from error


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token id that ends a response: of config, generation config, tokenizer and template."""
    found: set[int] = set()
    for value in (model.config.eos_token_id, model.generation_config.eos_token_id, tokenizer.eos_token_id):
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    if tokenizer.chat_template:
        closing = chat.end_of_turn_token(tokenizer)
        found.update([] if closing is None else [closing])
    return sorted(found)


def _hash_tokenizer(folder: Path) -> str:
    """Of tokenizer.json without its padding and truncation (state left by use), else of the older files."""
    file = folder / "tokenizer.json"
    if file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        for state in ("padding", "truncation"):
            content.pop(state, None)
        return _sha256(json.dumps(content, sort_keys=True))
    older = [folder / name for name in ("tokenizer.model", "vocab.json", "merges.txt") if (folder / name).is_file()]
    if not older:
        raise BaseModelError(f"{folder} holds no tokenizer; fetch the base model again")
    return _sha256("".join(f"{file.name}:{tensor_files.hash_file(file)}\n" for file in older))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _cpu_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not cpuinfo.is_file():
        return set()
    flags = (line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("flags"))
    return set(next(flags, "").split())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
