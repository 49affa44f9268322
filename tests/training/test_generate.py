"""Responses depend on their request alone, and end where the model ends them."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from training.base import load_base
from training.decoder import Decoder
from training.errors import AdapterError, Cancelled, MemoryExhaustedError, PromptError
from training.generate import Generated, LocalEngine, Request, context_of
from training.lanes import Lanes, share_out
from training.sampling import Sampling

CPU = torch.device("cpu")
SAMPLINGS = {
    "warm": Sampling(temperature=0.9, top_p=0.95, max_new_tokens=40),
    "top-k": Sampling(temperature=1.0, top_k=20, max_new_tokens=40),
    "greedy": Sampling(temperature=0, max_new_tokens=12),
    "penalty": Sampling(temperature=0.7, repetition_penalty=1.3, max_new_tokens=40),
}


def ask(text: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": text},)


REQUESTS = [
    Request(f"{adapter}-{place}", adapter, ask("what is cheese? " * (1 + place * 5 % 7)), seed=place)
    for place in range(4)
    for adapter in (None, "wide", "narrow")
]


@pytest.fixture(scope="module")
def engine(tiny_base: Path, adapters: dict[str, Path]) -> LocalEngine:
    return LocalEngine(tiny_base, adapters, device="cpu", dtype="float32")


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads torch has."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def by_key(responses: list[Generated]) -> dict[str, Generated]:
    return {response.key: response for response in responses}


def run(engine: LocalEngine, requests: list[Request], sampling: Sampling, size: int) -> dict[str, Generated]:
    return by_key(list(engine.generate(requests, sampling, batch_size=size)))


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
def test_a_response_is_the_same_alone_batched_permuted_and_split(engine: LocalEngine, sampling: Sampling) -> None:
    together = run(engine, REQUESTS, sampling, 12)
    assert set(together) == {request.key for request in REQUESTS}
    alone: dict[str, Generated] = {}
    for request in REQUESTS:
        alone |= run(engine, [request], sampling, 1)
    assert alone == together
    assert run(engine, REQUESTS[::-1], sampling, 5) == together
    assert run(engine, REQUESTS[:5], sampling, 4) | run(engine, REQUESTS[5:], sampling, 2) == together


def test_a_response_is_the_same_in_lanes_side_by_side_and_on_any_number_of_threads(
    engine: LocalEngine, threads: Callable[[int], None]
) -> None:
    requests = [replace(one, key=f"{one.key}-{seed}", seed=seed) for one in REQUESTS for seed in range(4)]
    sampling = SAMPLINGS["warm"]
    threads(1)
    in_one_lane = run(engine, requests, sampling, 20)
    assert len(in_one_lane) == len(requests)
    assert run(engine, requests, sampling, 7) == in_one_lane
    threads(4)
    assert share_out(20, CPU) == Lanes(2, rows=10, threads=2)
    assert share_out(48, CPU) == Lanes(4, rows=12, threads=1)
    assert run(engine, requests[::-1], sampling, 20) == in_one_lane
    assert run(engine, requests, sampling, 48) == in_one_lane


def test_lanes_stop_when_they_are_told_to(engine: LocalEngine, threads: Callable[[int], None]) -> None:
    threads(2)
    assert share_out(16, CPU).count == 2
    requests = [replace(one, key=f"{one.key}-{seed}", seed=seed) for one in REQUESTS for seed in range(4)]
    finished: list[Generated] = []
    with pytest.raises(Cancelled):
        iter_into(finished, engine, lambda: len(finished) > 2, requests, 16)
    assert 2 < len(finished) < len(requests)
    assert run(engine, requests[:16], SAMPLINGS["warm"], 16)  # and the engine goes on


def test_replicates_read_their_prompt_once_and_respond_as_each_would_alone(engine: LocalEngine) -> None:
    sampling = SAMPLINGS["penalty"]
    requests = [
        Request(f"{adapter}-{text}-{seed}", adapter, ask(text), seed)
        for seed in range(3)
        for text in ("what is cheese?", "and what is bread?")
        for adapter in (None, "wide")
    ]
    reads: list[int] = []
    hook = engine._model.register_forward_pre_hook(
        lambda _model, _args, given: reads.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    together = run(engine, requests, sampling, 8)
    hook.remove()
    assert sum(width > 1 for width in reads) == 2 * 2  # prompts by checkpoints, however many replicates
    assert together == {request.key: run(engine, [request], sampling, 1)[request.key] for request in requests}
    assert len({one.text for one in together.values()}) > len(requests) / 2


def test_responses_differ_between_seeds_and_adapters(engine: LocalEngine) -> None:
    requests = [
        Request(f"{name}-{seed}", name, ask("hello"), seed) for name in (None, "wide", "narrow") for seed in range(4)
    ]
    texts = {response.text for response in run(engine, requests, SAMPLINGS["warm"], 8).values()}
    assert len(texts) >= 10


@pytest.mark.parametrize("adapter", [None, "wide"])
def test_greedy_is_what_the_model_itself_finds_most_likely(
    engine: LocalEngine, tiny_base: Path, adapters: dict[str, Path], adapter: str | None
) -> None:
    """One full forward pass per token, no cache, no batch, peft for the adapter."""
    from peft import PeftModel  # noqa: PLC0415

    model, tokenizer = load_base(tiny_base, torch.device("cpu"), torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, adapters[adapter]).eval()
    prompt = tokenizer.apply_chat_template(ask("hello there"), add_generation_prompt=True)["input_ids"]
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(12):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
    expected = tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    request = Request("one", adapter, ask("hello there"), seed=0)
    assert run(engine, [request], SAMPLINGS["greedy"], 1)["one"].text == expected


def test_a_response_stops_at_the_end_token_or_at_the_limit(engine: LocalEngine) -> None:
    requests = [Request(str(seed), None, ask("hello"), seed) for seed in range(30)]
    responses = run(engine, requests, Sampling(max_new_tokens=10), 8).values()
    stopped = [response for response in responses if response.finish_reason == "stop"]
    cut = [response for response in responses if response.finish_reason == "length"]
    assert stopped
    assert cut
    assert len(stopped) + len(cut) == 30
    assert all(response.token_count < 10 for response in stopped)
    assert all(response.token_count == 10 for response in cut)
    assert not any("<|" in response.text for response in responses)


def test_the_context_cuts_a_response_and_refuses_a_prompt_by_key(engine: LocalEngine) -> None:
    overhead = len(engine.row(Request("k", None, ask(""), 0), Sampling()).ids)
    nearly = [Request(str(seed), None, ask("x" * (4096 - overhead - 3)), seed) for seed in range(4)]
    responses = run(engine, nearly, Sampling(max_new_tokens=50), 4).values()
    assert max(response.token_count for response in responses) == 3
    assert all((response.finish_reason == "length") == (response.token_count == 3) for response in responses)
    too_long = Request("too-long", None, ask("x" * 4096), seed=1)
    with pytest.raises(PromptError, match="request too-long: the prompt has"):
        run(engine, [*nearly, too_long], SAMPLINGS["warm"], 4)


def test_an_unknown_adapter_is_refused_before_anything_is_generated(engine: LocalEngine) -> None:
    with pytest.raises(AdapterError, match="there is no adapter absent"):
        run(engine, [REQUESTS[0], Request("k", "absent", ask("hello"), 0)], SAMPLINGS["warm"], 4)


def test_cancel_keeps_what_was_yielded(engine: LocalEngine) -> None:
    finished: list[Generated] = []
    with pytest.raises(Cancelled):
        iter_into(finished, engine, lambda: len(finished) >= 3, REQUESTS, 1)
    assert len(finished) == 3


def iter_into(
    finished: list[Generated], engine: LocalEngine, should_stop: Any, requests: list[Request], size: int
) -> None:
    for response in engine.generate(requests, SAMPLINGS["warm"], batch_size=size, should_stop=should_stop):
        finished.append(response)  # noqa: PERF402 - one by one, so that should_stop sees it


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({}, 2048),
        ({"max_position_embeddings": 512}, 512),
        ({"max_position_embeddings": 512, "sliding_window": 64}, 64),
        ({"max_position_embeddings": 512, "sliding_window": 64, "layer_types": ["full_attention"]}, 512),
        ({"max_position_embeddings": 512, "rope_parameters": {"rope_type": "yarn", "factor": 4}}, 512),
        (
            {
                "max_position_embeddings": 512,
                "rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 128},
            },
            128,
        ),
    ],
)
def test_a_context_ends_where_a_row_would_begin_to_depend_on_its_batch(config: dict[str, Any], context: int) -> None:
    assert context_of(SimpleNamespace(**config)) == context


def out_of_memory_beyond(rows: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A device that holds so many rows at a time; returns how many each step that failed had."""
    step, failed = Decoder.step, list[int]()

    def limited(decoder: Decoder) -> None:
        if len(decoder.live) > rows:
            failed.append(len(decoder.live))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        step(decoder)

    monkeypatch.setattr(Decoder, "step", limited)
    return failed


@pytest.mark.parametrize("cores", [1, 2])
def test_where_memory_runs_out_fewer_rows_say_the_same(
    engine: LocalEngine, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    requests = [replace(one, key=f"{one.key}-{seed}", seed=seed) for one in REQUESTS for seed in range(3)]
    whole = run(engine, requests, SAMPLINGS["penalty"], 36)
    threads(cores)
    failed, said = out_of_memory_beyond(9, monkeypatch), list[str]()
    fewer = list(engine.generate(requests, SAMPLINGS["penalty"], batch_size=36, say=said.append))
    assert failed
    assert by_key(fewer) == whole
    assert len(fewer) == len(requests)  # each once
    assert said[0] == "Memory ran out with 36 responses at a time; going on with 18"
    assert len(said) == (2 if cores == 1 else 1)


def test_what_is_finished_before_memory_runs_out_is_not_written_again(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = SAMPLINGS["warm"]
    whole = run(engine, REQUESTS, sampling, 12)
    step, steps = Decoder.step, list[int]()

    def limited(decoder: Decoder) -> None:
        steps.append(len(decoder.live))
        if len(steps) == 20:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)")
        step(decoder)

    monkeypatch.setattr(Decoder, "step", limited)
    again = list(engine.generate(REQUESTS, sampling, batch_size=12))
    assert steps[19] < 12  # some were finished
    assert len(again) == len(REQUESTS)
    assert by_key(again) == whole


def test_a_device_too_small_for_the_smallest_batch_ends_it_with_what_would_help(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = out_of_memory_beyond(0, monkeypatch)
    with pytest.raises(MemoryExhaustedError, match=r"4 responses at a time, which are the fewest.*fewer new tokens"):
        run(engine, REQUESTS, SAMPLINGS["warm"], 12)
    assert failed == [12, 6, 3]


def test_another_error_of_the_device_is_not_taken_for_a_lack_of_memory(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Decoder) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(Decoder, "step", broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        run(engine, REQUESTS, SAMPLINGS["warm"], 12)


def test_nothing_asked_is_nothing_generated(engine: LocalEngine) -> None:
    assert run(engine, [], SAMPLINGS["warm"], 4) == {}


def test_the_engine_fingerprint_follows_base_and_adapters_not_folders(
    engine: LocalEngine, tiny_base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    moved = {name: Path(shutil.copytree(folder, tmp_path / name)) for name, folder in adapters.items()}
    options = {"device": "cpu", "dtype": "float32"}
    assert LocalEngine(tiny_base, moved, **options).fingerprint == engine.fingerprint
    assert LocalEngine(tiny_base, {}, **options).fingerprint != engine.fingerprint
    assert LocalEngine(tiny_base, moved, device="cpu", dtype="bfloat16").fingerprint != engine.fingerprint


@pytest.mark.real_model
def test_the_real_model_answers_and_repeats_itself_in_any_batch(real_base: Path) -> None:
    engine = LocalEngine(real_base, {}, dtype="float32")
    questions = ("What is the capital of France?", "Name three colours.", "Why do cats purr?")
    requests = [Request(str(seed), None, ask(question), seed) for seed, question in enumerate(questions)]
    greedy = run(engine, requests[:1], Sampling(temperature=0, max_new_tokens=24), 1)["0"]
    assert "Paris" in greedy.text
    assert greedy.finish_reason == "stop"
    warm = Sampling(temperature=0.8, top_p=0.95, max_new_tokens=32)
    together = run(engine, requests, warm, 8)
    for request in requests:
        assert run(engine, [request], warm, 1)[request.key] == together[request.key]
