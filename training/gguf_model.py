"""Turn a GGUF file into a clean base model folder: float32 safetensors, config, tokenizer, chat template."""

import contextlib
import io
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

from training.base import LOADING_ERRORS
from training.errors import BaseModelError


def convert_gguf(file: Path, destination: Path) -> None:
    """Unpack every quantised weight and save the model anew.

    The weights stay what quantisation made of them: this is a base model of its own, not the original.

    Raises:
        BaseModelError: the file cannot be read as a model.
        OSError: the destination cannot be written.
    """
    quiet = io.StringIO()  # the loader draws a bar that cannot be turned off
    folder = file.parent
    unpacked = GgufConfig(dequantize=True)
    try:
        with contextlib.redirect_stderr(quiet):
            loaded = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file.name, quantization_config=unpacked, dtype=torch.float32
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    except LOADING_ERRORS as error:
        raise BaseModelError(f"{file.name} cannot be read as a model: {error}") from error
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings.pop("_model_name_or_path", None)
    # A model that remembers its GGUF origin refuses to be saved, so the weights move into a fresh one.
    with torch.device("meta"):
        clean = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), dtype=torch.float32)
    clean.load_state_dict(loaded.state_dict(), assign=True)
    clean.tie_weights()
    clean.generation_config = loaded.generation_config
    clean.save_pretrained(destination)
    tokenizer.save_pretrained(destination)
