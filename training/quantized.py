"""The frozen base in four bits while an adapter learns on it (QLoRA), through bitsandbytes where it is installed.

Weights of linear layers take a half byte each (nf4, scales quantised too); embeddings, norms and the head stay as they
are, and so do the adapter and what is computed. What is on the disk and its hash do not change: the checkpoint is one
of this base model, and is evaluated on it in full.
"""

import importlib
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from training.errors import BaseModelError

PACKAGE = "bitsandbytes"


def loading_options(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What ``from_pretrained`` needs besides to put a model onto ``device`` in four bits, computing in ``dtype``.

    Raises:
        BaseModelError: bitsandbytes is not installed, or does not know this type of device.
    """
    try:
        package = importlib.import_module(PACKAGE)
    except ImportError as error:
        raise BaseModelError(
            f"train.load_in_4bit needs {PACKAGE}, which cannot be used here ({error}); nothing was trained: install it "
            f"(`pip install {PACKAGE}` in the environment that has torch) or take load_in_4bit out of the recipe"
        ) from error
    if device.type not in package.supported_torch_devices:
        raise BaseModelError(
            f"{PACKAGE} {package.__version__} has no four bits for the device {device.type}; nothing was trained: "
            "take load_in_4bit out of the recipe, or train on another device"
        )
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    # A CUDA device is named in full: loading takes the first for any.
    where = torch.device("cuda", torch.cuda.current_device()) if str(device) == "cuda" else device
    return {"quantization_config": config, "device_map": {"": where}}
