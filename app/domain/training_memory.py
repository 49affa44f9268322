"""How much memory a training run will need, from the config of its base model and its recipe; nothing is loaded.

Counted is what is in memory at the fullest moment, the backward pass: the frozen base; adapter, gradients and AdamW's
two moments (16 bytes for each trained parameter); what each layer keeps of each token; one chunk of the head; and the
process itself. What is kept was counted tensor by tensor in the layers of ``training.fused`` and, where those step
aside (DoRA), of peft; that part agrees with torch's own account to 3%.

Against the measured peak of a process on a CPU (SmolLM2-135M, r = 16), expected and measured, in GB:

    tokens in a pass        504          1,016        2,016        4,064
    without checkpointing   2.33, 2.43   2.77, 2.89   3.64, 3.71   5.46, 5.45
    in bfloat16                          1.85, 2.10
    with checkpointing      1.30, 1.26   1.35, 1.42

A CPU that is no x86 has no second layouts, so less is needed there than this says. GPUs were not measured.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "phi3"})
"""Architectures whose head is computed chunk by chunk, as in ``training.loss``; others make all logits at once."""
CHUNK_TOKENS = 512
"""Tokens of such a chunk."""
FLOAT32, BFLOAT16 = 4, 2
"""Bytes of a number."""
_TRAINED_BYTES = 16
"""Of each trained parameter: itself, its gradient and two moments, all float32."""
_PROCESS = 530_000_000
"""Python, torch, transformers and peft, resident in memory."""
_DRIVER = 500_000_000
"""What CUDA keeps for itself on a GPU."""
_USABLE = 0.9
"""Share of a machine's memory that a run may take: the rest is for the system and for what else runs."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with gated MLPs. ``queries``, ``keys``: numbers per token of all heads together."""

    kind: str
    layers: int
    hidden: int
    inner: int
    heads: int
    queries: int
    keys: int
    vocabulary: int
    tied: bool
    """Whether the head is the embedding."""

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) of the linear maps of each layer."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.inner),
            "up_proj": (self.hidden, self.inner),
            "down_proj": (self.inner, self.hidden),
        }

    @property
    def parameters(self) -> int:
        """Numbers of the base model, but for biases."""
        layer = sum(wide * high for wide, high in self.linears.values()) + 2 * self.hidden
        return self.layers * layer + (1 if self.tied else 2) * self.vocabulary * self.hidden + self.hidden


@dataclass(frozen=True)
class Plan:
    """What of a recipe decides how much memory it takes. Defaults are those of the recipes."""

    r: int = 16
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = ()
    """Empty: all."""
    use_dora: bool = False
    per_device_train_batch_size: int = 4
    max_tokens_per_pass: int = 0
    """0: no limit."""
    max_length: int = 1024
    gradient_checkpointing: bool = False

    @property
    def tokens(self) -> int:
        """Of the fullest pass."""
        whole = self.per_device_train_batch_size * self.max_length
        return min(whole, max(self.max_tokens_per_pass, self.max_length)) if self.max_tokens_per_pass else whole

    @property
    def easier(self) -> "dict[str, Plan]":
        """Plans that learn the same in less memory, by what to change; the one that takes less time first."""
        split: dict[str, Any] = {"max_tokens_per_pass": self.max_length} if self.tokens > self.max_length else {}
        checkpointed: dict[str, Any] = {} if self.gradient_checkpointing else {"gradient_checkpointing": True}
        found = {}
        for changes in filter(None, (split, checkpointed, split | checkpointed)):
            words = " and ".join(f"{key} = {str(value).lower()}" for key, value in changes.items())
            found[words] = dataclasses.replace(self, **changes)
        return found


@dataclass(frozen=True)
class Need:
    """Bytes at the fullest moment, by what they are for."""

    process: int
    """Interpreter and libraries; on a GPU the context of the driver."""
    weights: int
    """The frozen base."""
    adapter: int
    activations: int
    """What is kept for the backward pass."""
    working: int
    """The largest of what comes and goes: a chunk of the head, or the gradients inside a layer."""
    layouts: int = 0
    """The second layout of the frozen weights, for gradients on a CPU (``training.frozen``)."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.process + self.weights + self.adapter + self.activations + self.working + self.layouts


def read_shape(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a ``config.json`` tells; ``None`` for what cannot be counted so (experts, GPT-2)."""
    if any(config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts")):
        return None
    hidden: Any = config.get("hidden_size")
    heads: Any = config.get("num_attention_heads")
    if not (_whole(hidden) and _whole(heads)):
        return None
    head = config.get("head_dim") or hidden // heads
    sizes: dict[str, Any] = {
        "layers": config.get("num_hidden_layers"),
        "hidden": hidden,
        "inner": config.get("intermediate_size"),
        "heads": heads,
        "queries": heads * head if _whole(head) else None,
        "keys": (config.get("num_key_value_heads") or heads) * head if _whole(head) else None,
        "vocabulary": config.get("vocab_size"),
    }
    if not all(_whole(size) for size in sizes.values()):
        return None
    return Shape(kind=str(config.get("model_type", "")), tied=bool(config.get("tie_word_embeddings")), **sizes)


def read_plan(recipe: Mapping[str, Any]) -> Plan:
    """The plan of a recipe that is no sweep. What cannot be used keeps its default: the training will refuse it."""
    told = {**_table(recipe, "lora"), **_table(recipe, "train")}
    targets = told.pop("target_modules", None)
    values: dict[str, Any] = {
        entry.name: told[entry.name]
        for entry in dataclasses.fields(Plan)
        if entry.name in told and isinstance(told[entry.name], int | float) and told[entry.name] >= 0
    }
    if isinstance(targets, list) and all(isinstance(name, str) for name in targets):
        values["target_modules"] = tuple(targets)
    return Plan(**values)


def estimate(shape: Shape, plan: Plan, *, device: str, bfloat16: bool) -> Need:
    """What a run will need.

    Args:
        shape: of the base model.
        plan: of the recipe; its rows are taken to be ``max_length`` tokens long, the longest that is not left out.
        device: "cpu", "cuda" or "mps".
        bfloat16: whether the frozen base is held in bfloat16; in float32 otherwise.
    """
    number = BFLOAT16 if bfloat16 else FLOAT32
    mask = 1 if device == "cuda" else FLOAT32  # what torch's own dropout keeps of each number
    adapted = {name: size for name, size in shape.linears.items() if _is_adapted(name, plan)}
    trained = sum(plan.r * (wide + high) + plan.use_dora * high for wide, high in adapted.values())
    layer = _kept(shape, plan, adapted, number, mask)
    kept = shape.layers * layer
    if plan.gradient_checkpointing:
        kept = shape.layers * shape.hidden * number + layer
    within = plan.tokens * FLOAT32 * (6 * shape.inner + 4 * shape.hidden)
    if plan.use_dora:  # W + s B A and an identity of the width of its input
        within += FLOAT32 * max((2 * high * wide + wide * wide for wide, high in adapted.values()), default=0)
    layouts = 0
    if device == "cpu" and not plan.gradient_checkpointing:
        laid_out = {name: size for name, size in shape.linears.items() if not (plan.use_dora and name in adapted)}
        head = shape.vocabulary * shape.hidden
        numbers = shape.layers * sum(wide * high for wide, high in laid_out.values()) + (1 + shape.tied) * head
        layouts = number * numbers
    return Need(
        process=_DRIVER if device == "cuda" else _PROCESS,
        weights=shape.parameters * number,
        adapter=round(_TRAINED_BYTES * shape.layers * trained),
        activations=plan.tokens * (kept + 2 * shape.hidden * number),
        working=max(within, _head(shape, plan.tokens, number)),
        layouts=layouts,
    )


@dataclass(frozen=True)
class Outlook:
    """What is expected of a run's memory on a machine, in words."""

    sentence: str
    fits: bool


def outlook(need: Need, plan: Plan, easier: Mapping[str, Need], *, device: str, memory_bytes: int) -> Outlook:
    """Whether a run will fit, and what to change where it will not.

    Args:
        need: of the run.
        plan: of the run.
        easier: what the same run needs with each change of ``plan.easier``.
        device: "cpu", "cuda" or "mps".
        memory_bytes: memory of that device; of the machine on a CPU and on MPS.
    """
    where = {"cpu": "on the CPU", "cuda": "on the GPU", "mps": "on the GPU (MPS)"}.get(device, f"on {device}")
    has = "this machine has" if device != "cuda" else "it has"
    start = f"About {_size(need.total)} {where} with rows of max_length = {plan.max_length:,} tokens"
    if need.total <= _USABLE * memory_bytes:
        return Outlook(f"{start}; {has} {_size(memory_bytes)}.", fits=True)
    fitting = [(change, one) for change, one in easier.items() if one.total <= _USABLE * memory_bytes]
    if fitting:
        change, changed = fitting[0]
        advice = f"With {change} it takes about {_size(changed.total)}."
    elif need.weights > _USABLE * memory_bytes:
        advice = "The base model alone takes more than that: choose a smaller one."
    else:
        advice = "Lower max_length or r, or choose a smaller base model."
    return Outlook(f"{start}, and {has} {_size(memory_bytes)}: it will not fit. {advice}", fits=False)


def _size(count: int) -> str:
    """Bytes in words, decimal as disks count them: 2.9 GB, 24 GB."""
    if count < 10**9:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 10**10 else f"{count / 1e9:.0f} GB"


def _kept(shape: Shape, plan: Plan, adapted: Mapping[str, tuple[int, int]], number: int, mask: int) -> int:
    """Bytes that a layer keeps of one token for the backward pass."""
    fused, drops = not plan.use_dora, plan.lora_dropout > 0
    norms = 2 * (number * shape.hidden + FLOAT32)
    attention = number * (2 * shape.queries + 2 * shape.keys) + FLOAT32 * shape.heads
    mlp = number * shape.inner * (2 if fused and "down_proj" in adapted else 3)
    shared = sum(shape.hidden for group in _SHARED if group & adapted.keys())
    if fused:  # layers that read the same share it; what o_proj reads attention has kept; of dropout a byte a number
        inputs = number * shared + drops * sum(wide for wide, _ in adapted.values())
    elif drops:
        inputs = sum((FLOAT32 + mask) * wide for wide, _ in adapted.values())
    elif number == FLOAT32:
        inputs = FLOAT32 * (shared + ("down_proj" in adapted) * shape.inner)
    else:  # each layer makes a float32 copy of its own
        inputs = FLOAT32 * sum(wide for wide, _ in adapted.values())
    outputs = sum(high for _, high in adapted.values()) if plan.use_dora else 0  # of W and of B, for the magnitudes
    magnitudes = ((FLOAT32 if drops else number) + FLOAT32) * outputs
    return norms + attention + mlp + inputs + magnitudes + FLOAT32 * plan.r * len(adapted)


_SHARED = (frozenset({"q_proj", "k_proj", "v_proj"}), frozenset({"gate_proj", "up_proj"}))


def _head(shape: Shape, tokens: int, number: int) -> int:
    """Bytes of the logits that are in memory at a time."""
    if shape.kind in PLAIN_HEADS:
        return min(tokens, CHUNK_TOKENS) * shape.vocabulary * (FLOAT32 if number == FLOAT32 else 2 * FLOAT32)
    return tokens * shape.vocabulary * (number + 3 * FLOAT32)


def _is_adapted(name: str, plan: Plan) -> bool:
    return not plan.target_modules or any(name == one.rpartition(".")[2] for one in plan.target_modules)


def _table(recipe: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = recipe.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def _whole(value: Any) -> bool:
    return type(value) is int and value > 0
