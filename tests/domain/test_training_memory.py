"""The memory of a run from its config and recipe: counts that are known, what must rise with what, and the words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.training_memory import Need, Plan, Shape, estimate, outlook, read_plan, read_shape

SMOLLM2: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49152,
    "tie_word_embeddings": True,
}  # fmt: skip
QWEN: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
SMALL = read_shape(SMOLLM2)
GB = 10**9


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (SMOLLM2, 134_515_008),
        (QWEN, 7_615_616_512 - 28 * (3584 + 2 * 512)),  # all it has, less the biases of q, k and v
    ],
)
def test_the_parameters_of_known_models_are_counted(config: dict[str, Any], parameters: int) -> None:
    shape = read_shape(config)
    assert shape is not None
    assert shape.parameters == parameters


@pytest.mark.parametrize(
    "change",
    [
        {"num_experts": 8}, {"num_local_experts": 4}, {"hidden_size": None}, {"hidden_size": "576"},
        {"num_attention_heads": 0}, {"intermediate_size": True}, {"vocab_size": -1}, {"head_dim": 0.5},
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_not_guessed(change: dict[str, Any]) -> None:
    assert read_shape({**SMOLLM2, **change}) is None


def test_a_model_without_grouped_heads_has_as_many_keys_as_queries() -> None:
    plain = {key: value for key, value in SMOLLM2.items() if key not in {"head_dim", "num_key_value_heads"}}
    shape = read_shape(plain)
    assert shape is not None
    assert (shape.queries, shape.keys) == (576, 576)


def test_a_recipe_is_read_and_what_it_cannot_mean_is_passed_over() -> None:
    recipe = {
        "lora": {"r": 8, "use_dora": True, "target_modules": ["q_proj", "v_proj"], "lora_dropout": "much"},
        "train": {"max_length": 512, "per_device_train_batch_size": -1, "gradient_checkpointing": True, "other": 1},
    }
    assert read_plan(recipe) == Plan(
        r=8, use_dora=True, target_modules=("q_proj", "v_proj"), max_length=512, gradient_checkpointing=True
    )
    assert read_plan({"lora": {"target_modules": "all-linear"}, "train": 5}) == Plan()


plans = st.builds(
    Plan,
    r=st.integers(1, 256),
    lora_dropout=st.sampled_from([0.0, 0.1]),
    target_modules=st.sampled_from(
        [(), ("q_proj",), ("q_proj", "v_proj"), ("down_proj",), ("model.up_proj", "k_proj")]
    ),
    use_dora=st.booleans(),
    per_device_train_batch_size=st.integers(1, 64),
    max_length=st.integers(8, 16_384),
    gradient_checkpointing=st.booleans(),
)
shapes = st.builds(
    Shape,
    kind=st.sampled_from(["llama", "qwen2", "gemma2"]),
    layers=st.integers(2, 80),
    hidden=st.integers(64, 8192),
    inner=st.integers(64, 32_768),
    heads=st.integers(1, 64),
    queries=st.integers(64, 8192),
    keys=st.integers(32, 1024),
    vocabulary=st.integers(256, 256_000),
    tied=st.booleans(),
)
places = st.sampled_from([("cpu", False), ("cpu", True), ("cuda", True), ("mps", False)])


@given(shapes, plans, places)
def test_more_never_takes_less(shape: Shape, plan: Plan, place: tuple[str, bool]) -> None:
    def total(shape: Shape, plan: Plan) -> int:
        return estimate(shape, plan, device=place[0], bfloat16=place[1]).total

    least = total(shape, plan)
    assert total(shape, replace(plan, max_length=2 * plan.max_length)) > least
    assert total(shape, replace(plan, per_device_train_batch_size=plan.per_device_train_batch_size + 1)) > least
    assert total(shape, replace(plan, r=plan.r + 1)) > least
    if place[0] != "cpu":  # there DoRA needs the weight itself, and only the others have a second layout
        assert total(shape, replace(plan, use_dora=True)) >= least
    assert total(replace(shape, layers=shape.layers + 1), plan) > least
    assert total(replace(shape, vocabulary=shape.vocabulary + 1), plan) > least
    assert total(replace(shape, tied=False), plan) >= least


@given(shapes, plans, places)
def test_checkpointing_keeps_less_and_costs_nothing_else(shape: Shape, plan: Plan, place: tuple[str, bool]) -> None:
    kept, computed_again = (
        estimate(shape, replace(plan, gradient_checkpointing=on), device=place[0], bfloat16=place[1])
        for on in (False, True)
    )
    apart = {"activations": 0, "layouts": 0}
    assert replace(computed_again, **apart) == replace(kept, **apart)
    assert computed_again.layouts == 0
    assert (kept.layouts > 0) is (place[0] == "cpu")
    if shape.layers > 2:
        assert computed_again.activations < kept.activations


def test_the_second_layout_is_of_every_linear_layer_and_of_the_head() -> None:
    layouts = estimate(SMALL, Plan(), device="cpu", bfloat16=False).layouts
    norms, head = (2 * 30 + 1) * 576, 49152 * 576
    assert layouts == 4 * (
        SMALL.parameters - norms + head
    )  # the embedding stays as it is, and the head is apart from it
    of_dora = estimate(SMALL, Plan(use_dora=True), device="cpu", bfloat16=False).layouts
    assert of_dora == 4 * 2 * head


@given(shapes, plans)
def test_the_frozen_base_takes_half_in_bfloat16(shape: Shape, plan: Plan) -> None:
    wide, narrow = (estimate(shape, plan, device="cpu", bfloat16=on) for on in (False, True))
    assert (wide.weights, wide.layouts) == (2 * narrow.weights, 2 * narrow.layouts)
    assert wide.adapter == narrow.adapter


def test_a_head_that_is_not_computed_in_chunks_takes_all_logits_at_once() -> None:
    assert SMALL is not None
    plan = Plan(max_length=8192)
    chunked = estimate(SMALL, plan, device="cpu", bfloat16=False)
    whole = estimate(replace(SMALL, kind="gemma2"), plan, device="cpu", bfloat16=False)
    assert whole.working > 4 * 8192 * 49152 * 4 > chunked.working


def need(gigabytes: float) -> Need:
    return Need(process=0, weights=GB, adapter=0, activations=round((gigabytes - 1) * GB), working=0)


SPLIT, CHECKPOINTED = "max_tokens_per_pass = 1024", "gradient_checkpointing = true"
ROWS = "with rows of max_length = 1,024 tokens"


@pytest.mark.parametrize(
    ("total", "checkpointed", "device", "memory", "sentence", "advice"),
    [
        (2.9, 2, "cpu", 24, f"About 2.9 GB on the CPU {ROWS}; this machine has 24 GB.", ""),
        (12, 9, "cuda", 80, f"About 12 GB on the GPU {ROWS}; it has 80 GB.", ""),
        (
            *(
                12,
                9,
                "mps",
                12.5,
                f"About 12 GB on the GPU (MPS) {ROWS}, and this machine has 12 GB: it will not fit. ",
            ),
            "With gradient_checkpointing = true it takes about 9.0 GB.",
        ),
        (
            *(31, 25, "cpu", 24, f"About 31 GB on the CPU {ROWS}, and this machine has 24 GB: it will not fit. "),
            "Lower max_length or r, or choose a smaller base model.",
        ),
        (
            *(2, 1.5, "cpu", 0.6, f"About 2.0 GB on the CPU {ROWS}, and this machine has 600 MB: it will not fit. "),
            "The base model alone takes more than that: choose a smaller one.",
        ),
    ],
)
def test_the_sentence_says_how_much_and_what_to_change(
    total: float, checkpointed: float, device: str, memory: float, sentence: str, advice: str
) -> None:
    easier = {"gradient_checkpointing = true": need(checkpointed)}
    found = outlook(need(total), Plan(), easier, device=device, memory_bytes=round(memory * GB))
    assert found.sentence == sentence + advice
    assert found.fits is (not advice)


def test_the_first_change_that_is_enough_is_named() -> None:
    both = f"{SPLIT} and {CHECKPOINTED}"
    easier = {SPLIT: need(9), CHECKPOINTED: need(8), both: need(7)}
    said = {
        memory: outlook(need(12), Plan(), easier, device="cuda", memory_bytes=round(memory * GB)).sentence
        for memory in (10.5, 9.5, 8.5)
    }
    assert said[10.5].endswith(f"With {SPLIT} it takes about 9.0 GB.")
    assert said[9.5].endswith(f"With {CHECKPOINTED} it takes about 8.0 GB.")
    assert said[8.5].endswith(f"With {both} it takes about 7.0 GB.")


def test_easier_plans_change_what_can_still_be_changed_and_need_less() -> None:
    plan = Plan()
    assert list(plan.easier) == [SPLIT, CHECKPOINTED, f"{SPLIT} and {CHECKPOINTED}"]
    totals = [estimate(SMALL, one, device="cuda", bfloat16=True).total for one in (plan, *plan.easier.values())]
    assert min(totals[1:3]) < totals[0]
    assert totals[3] < min(totals[1:3])
    assert list(replace(plan, per_device_train_batch_size=1).easier) == [CHECKPOINTED]
    assert list(replace(plan, gradient_checkpointing=True).easier) == [SPLIT]
    assert replace(plan, gradient_checkpointing=True, max_tokens_per_pass=1024).easier == {}


@pytest.mark.parametrize(("limit", "tokens"), [(0, 4096), (1, 1024), (1024, 1024), (2000, 2000), (9000, 4096)])
def test_a_pass_holds_what_its_limits_let_in_and_always_one_row(limit: int, tokens: int) -> None:
    assert Plan(max_tokens_per_pass=limit).tokens == tokens
