"""The config of an uploaded adapter: what is taken from it, what means nothing here, and what is refused by name.

An allow-list in both directions: a field that is not known is refused, because a field of a later peft may change
what the adapter computes without a trace in its tensors.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import IntakeError
from training.intake.members import CONFIG, LARGEST_TEXT, shown

LARGEST_RANK = 256
LARGEST_ALPHA = 1_000_000.0
_LONGEST_BASE_NAME = 500

_TAKEN = {"peft_type", "task_type", "bias", "r", "lora_alpha", "use_rslora", "use_dora", "init_lora_weights"}
# They say where an adapter came from, how it was trained, or which layers it changes; the tensors say the last better.
_MEANS_NOTHING = {
    *("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "runtime_config"),
    *("lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
}
# With these values a field does nothing.
_HARMLESS: dict[str, tuple[Any, ...]] = {"megatron_core": ("megatron.core",), "qalora_group_size": (16,)}
_WHY = {
    "modules_to_save": "it would replace whole layers of the base model",
    "layer_replication": "it would change how many layers the base model has",
    "megatron_config": "it is for a model that is divided over machines",
    "megatron_core": "it names code that would be imported",
    "trainable_token_indices": "it would replace embeddings of the base model",
    "target_parameters": "it changes parameters that are no linear layers",
    "rank_pattern": "ranks that differ by a pattern are not computed here; save it with one rank",
    "alpha_pattern": "scales that differ by a pattern are not computed here; save it with one lora_alpha",
    "lora_bias": "it would add biases to the base model",
    "fan_in_fan_out": "it is for layers that store their weights the other way round",
    "ensure_weight_tying": "it would tie weights of the base model",
}
_CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin that also subtract from the base model: the adapter means something only on that changed base."""
_BEGINS = ("gaussian", "orthogonal", "eva")


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What of a config decides what the adapter computes: scale = lora_alpha / r, or / sqrt(r) with rsLoRA."""

    r: int
    lora_alpha: float
    use_rslora: bool
    told_base: str
    """The name of the base model as the uploader's config has it: advisory."""
    use_dora: bool = False

    def as_config(self, layers: Iterable[str], base_name: str) -> dict[str, Any]:
        """The only config that is stored and loaded: plain LoRA or DoRA on these layers, by their full names."""
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_name,
            "inference_mode": True,
            "r": self.r,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": 0.0,
            "use_rslora": self.use_rslora,
            "use_dora": self.use_dora,
            "target_modules": sorted(layers),
            "bias": "none",
            "fan_in_fan_out": False,
            "init_lora_weights": True,
        }


def read_object(file: Path) -> dict[str, Any]:
    """A small JSON file as a dict.

    Raises:
        IntakeError: too large, not JSON, a key that is there twice, or a number that is none.
    """
    name = file.name
    if file.stat().st_size > LARGEST_TEXT:
        raise IntakeError(f"{name} has more than {LARGEST_TEXT:,} bytes")
    try:
        content = json.loads(
            file.read_bytes().decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise IntakeError(f"{name} is not JSON that can be read ({str(error)[:120] or 'nested too deep'})") from error
    if not isinstance(content, dict):
        raise IntakeError(f"{name} is not a JSON object")
    return content


def read_settings(config: Mapping[str, Any]) -> AdapterSettings:
    """The settings of a peft config.

    Raises:
        IntakeError: it is neither plain LoRA nor DoRA; names the field.
    """
    for field in ("peft_type", "task_type", "bias"):
        _require_plain(config, field)
    for field, value in config.items():
        if field in _TAKEN | _MEANS_NOTHING or value in (None, False, "", [], {}) or value in _HARMLESS.get(field, ()):
            continue
        why = _WHY.get(field, "it is not known here, and what is not known may change what the adapter does")
        raise IntakeError(f"{CONFIG} sets {shown(field)}: {why}")
    _require_plain_start(config.get("init_lora_weights", True))
    return AdapterSettings(
        r=_rank(config.get("r", 8), "r"),
        lora_alpha=_positive(config.get("lora_alpha", 8), "lora_alpha"),
        use_rslora=_yes_or_no(config, "use_rslora"),
        told_base=_base(config),
        use_dora=_yes_or_no(config, "use_dora"),
    )


def read_mlx_settings(config: Mapping[str, Any]) -> AdapterSettings:
    """The settings of an mlx-lm config, whose scale is a plain factor: lora_alpha = scale · rank.

    Raises:
        IntakeError: it is not plain LoRA; names the field.
    """
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora" or config.get("use_dora"):
        what = kind if isinstance(kind, str) and kind != "lora" else "dora"
        raise IntakeError(f"{CONFIG} of mlx-lm says fine_tune_type {shown(what)}; only lora can be computed here")
    parameters = config.get("lora_parameters")
    if not isinstance(parameters, dict):
        raise IntakeError(f"{CONFIG} lacks lora_parameters, which an adapter from mlx-lm has")
    rank = _rank(parameters.get("rank"), "lora_parameters.rank")
    scale = _positive(parameters.get("scale"), "lora_parameters.scale")
    told = config.get("model")
    return AdapterSettings(rank, scale * rank, use_rslora=False, told_base=_short(told))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _require_plain(config: Mapping[str, Any], field: str) -> None:
    wanted = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none"}[field]
    value = config.get(field)
    if value is None and field != "peft_type":
        return
    if value != wanted:
        raise IntakeError(f"{field} of {CONFIG} is {shown(str(value))}; only {wanted} can be computed here")


def _require_plain_start(start: Any) -> None:
    """How A and B began is past, unless the base model was changed with them."""
    if start in (True, False, None) or start in _BEGINS:
        return
    if isinstance(start, str) and start.startswith(_CHANGES_THE_BASE):
        raise IntakeError(
            f"init_lora_weights of {CONFIG} is {shown(start)}: such an adapter fits a changed copy of its base model "
            "only. Save it as plain LoRA with peft's path_initial_model_for_weight_conversion"
        )
    raise IntakeError(f"init_lora_weights of {CONFIG} is {shown(str(start))}, which is not known here")


def _rank(value: Any, field: str) -> int:
    if type(value) is not int or not 1 <= value <= LARGEST_RANK:
        raise IntakeError(
            f"{field} of {CONFIG} is {shown(str(value))}; a whole number from 1 to {LARGEST_RANK} is needed"
        )
    return value


def _positive(value: Any, field: str) -> float:
    if type(value) not in {int, float} or not math.isfinite(value) or not 0 < value <= LARGEST_ALPHA:
        raise IntakeError(f"{field} of {CONFIG} is {shown(str(value))}; a number above 0 is needed")
    return float(value)


def _yes_or_no(config: Mapping[str, Any], field: str) -> bool:
    value = config.get(field) or False
    if value is not True and value is not False:
        raise IntakeError(f"{field} of {CONFIG} is neither true nor false")
    return value


def _base(config: Mapping[str, Any]) -> str:
    return _short(config.get("base_model_name_or_path"))


def _short(value: Any) -> str:
    return value[:_LONGEST_BASE_NAME] if isinstance(value, str) else ""
