"""One contestant of the generation bench: answers the same prompts as base and adapters, prints one line of JSON.

python -m training.bench.generate ours|hf|peft-mixed|llama.cpp|bandwidth --base FOLDER --data FILE
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from training import base, chat, data, lora
from training.config import LoraSettings
from training.fetch import fetch_base, fetch_gguf
from training.generate import LocalEngine, Request
from training.memory import peak_bytes
from training.sampling import Sampling

ADAPTERS = ("one", "two", "three")
SPREAD = 0.02
"""Of the random weights of an adapter: enough to answer otherwise than the base, too little to talk nonsense."""
LLAMA_CPP_SLACK = 16
"""Tokens of a slot beyond prompt and response."""
LLAMA_CPP_ALL_LAYERS = 999
READ_BYTES, READ_SECONDS = 2**30, 3.0
SAMPLING = Sampling(temperature=0.7, top_p=0.95)


@dataclass(frozen=True)
class Task:
    """What all contestants answer."""

    base: Path
    data: Path
    prompts: int
    replicates: int
    max_new_tokens: int
    batch_size: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Figures:
    """Loading is not counted."""

    contestant: str
    responses: int
    tokens: int
    """Of all responses, the end token not counted."""
    seconds: float
    peak_bytes: int
    cut: int
    """Responses that the limit of tokens ended."""

    @property
    def tokens_per_second(self) -> float:
        """What is compared."""
        return self.tokens / self.seconds


def prompts_of(task: Task) -> list[tuple[dict[str, str], ...]]:
    """The first prompts of a suite, or what is asked in the first rows of a dataset: all before the first answer."""
    rows = [json.loads(line) for line in task.data.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any("suite" in row for row in rows):
        asked = [row.get("messages") or [{"role": "user", "content": row["prompt"]}] for row in rows if "key" in row]
        return [tuple(messages) for messages in asked[: task.prompts]]
    found = []
    for conversation in data.read_conversations(task.data):
        roles = [message["role"] for message in conversation.messages]
        if "assistant" in roles:
            found.append(tuple(dict(one) for one in conversation.messages[: roles.index("assistant")]))
    return found[: task.prompts]


def make_adapters(task: Task, folder: Path) -> dict[str, Path]:
    """Random adapters on every layer, the same for every contestant."""
    made = {}
    for number, name in enumerate(ADAPTERS):
        torch.manual_seed(number)
        model, _ = base.load_base(task.base, torch.device("cpu"), torch.float32)
        model = lora.attach_lora(model, LoraSettings(r=16, lora_alpha=32))
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(std=SPREAD)
        model.save_pretrained(folder / name)
        made[name] = folder / name
    return made


def ours(task: Task, adapters: dict[str, Path]) -> Figures:
    """The engine of this project: everybody in one batch."""
    engine = LocalEngine(task.base, adapters, device=task.device, dtype=task.dtype)
    requests = [
        Request(f"{name}-{number}-{replicate}", name, prompt, seed=1_000 * replicate + number)
        for number, prompt in enumerate(prompts_of(task))
        for replicate in range(task.replicates)
        for name in (None, *ADAPTERS)
    ]
    sampling = Sampling(SAMPLING.temperature, SAMPLING.top_p, max_new_tokens=task.max_new_tokens)
    started = time.perf_counter()
    found = list(engine.generate(requests, sampling, batch_size=task.batch_size))
    return Figures(
        "ours", len(found), sum(one.token_count for one in found), time.perf_counter() - started,
        peak_bytes(base.pick_device(task.device)), sum(one.finish_reason == "length" for one in found),
    )  # fmt: skip


def peers(task: Task, adapters: dict[str, Path], *, mixed: bool) -> Figures:
    """``generate`` of transformers on a PeftModel: checkpoint after checkpoint, or all in a batch by adapter_names."""
    where = base.pick_device(task.device)
    bare, tokenizer = base.load_base(task.base, where, base.pick_dtype(where, task.dtype))
    ends = base.end_tokens(bare, tokenizer)
    model = PeftModel.from_pretrained(bare, adapters[ADAPTERS[0]], adapter_name=ADAPTERS[0])
    for name in ADAPTERS[1:]:
        model.load_adapter(adapters[name], adapter_name=name)
    model.eval()
    prompts = [chat.encode_prompt(tokenizer, prompt) for prompt in prompts_of(task) for _ in range(task.replicates)]
    if mixed:
        wanted = [(ids, name or "__base__") for ids in prompts for name in (None, *ADAPTERS)]
    else:
        wanted = [(ids, name or "") for name in (None, *ADAPTERS) for ids in prompts]
    torch.manual_seed(0)
    tokens = cut = 0
    started = time.perf_counter()
    for batch in _batches(wanted, task.batch_size, mixed=mixed):
        ids, mask = _left_padded([one for one, _ in batch], where)
        names = [name for _, name in batch]
        more: dict[str, Any] = {"adapter_names": names} if mixed else {}
        if not mixed and names[0]:
            model.set_adapter(names[0])
        with torch.inference_mode(), model.disable_adapter() if not mixed and not names[0] else nullcontext():
            written = model.generate(
                input_ids=ids, attention_mask=mask, do_sample=True, temperature=SAMPLING.temperature,
                top_p=SAMPLING.top_p, top_k=0, max_new_tokens=task.max_new_tokens, eos_token_id=ends,
                pad_token_id=ends[0], **more,
            )[:, ids.shape[1] :]  # fmt: skip
        for row in written.tolist():
            length = next((place for place, token in enumerate(row) if token in ends), len(row))
            tokens, cut = tokens + length, cut + (length == task.max_new_tokens)
    return Figures(
        "peft-mixed" if mixed else "hf", len(wanted), tokens, time.perf_counter() - started, peak_bytes(where), cut
    )


def llama_cpp(task: Task) -> Figures:
    """llama.cpp with as many slots as we have rows, on its own quantised file of the built-in model.

    It answers everything as the bare base: its adapters change between requests, and rows of two do not share a batch.
    """
    import xllamacpp  # noqa: PLC0415 (a peer that need not be there)

    file = fetch_gguf(task.base.parent / "gguf")
    _, tokenizer = base.load_base(task.base, torch.device("cpu"), torch.float32)
    prompts = [prompt for prompt in prompts_of(task) for _ in range(task.replicates) for _ in (None, *ADAPTERS)]
    longest = max(len(chat.encode_prompt(tokenizer, prompt)) for prompt in prompts)
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_parallel = str(file), task.batch_size
    settings.n_ctx = task.batch_size * (longest + task.max_new_tokens + LLAMA_CPP_SLACK)
    settings.n_gpu_layers = 0 if task.device == "cpu" else LLAMA_CPP_ALL_LAYERS
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = torch.get_num_threads()
    server = xllamacpp.Server(settings)

    def ask(number: int) -> dict[str, Any]:
        told: dict[str, Any] = server.handle_chat_completions({
            "messages": prompts[number], "temperature": SAMPLING.temperature, "top_p": SAMPLING.top_p, "top_k": 0,
            "max_tokens": task.max_new_tokens, "seed": number,
        })  # fmt: skip
        return told

    started = time.perf_counter()
    with ThreadPoolExecutor(task.batch_size) as pool:
        found = list(pool.map(ask, range(len(prompts))))
    seconds = time.perf_counter() - started
    return Figures(
        "llama.cpp", len(found), sum(one["usage"]["completion_tokens"] for one in found), seconds,
        peak_bytes(torch.device("cpu")), sum(one["choices"][0]["finish_reason"] == "length" for one in found),
    )  # fmt: skip


def bandwidth(task: Task) -> dict[str, float]:
    """How fast memory is read, and the tokens a second that this allows: each step reads all weights once."""
    where = base.pick_device(task.device)
    model, _ = base.load_base(task.base, where, base.pick_dtype(where, task.dtype))
    head = model.get_output_embeddings().weight
    rest = [one for one in model.parameters() if one is not head and one is not model.get_input_embeddings().weight]
    weight_bytes = head.nbytes + sum(one.nbytes for one in rest)
    numbers = torch.zeros(READ_BYTES // 4, device=where)
    best, ends = 0.0, time.perf_counter() + READ_SECONDS
    while time.perf_counter() < ends:
        started = time.perf_counter()
        numbers.sum().item()  # waits for the device
        best = max(best, numbers.nbytes / (time.perf_counter() - started))
    return {"bytes_per_second": best, "tokens_per_second": task.batch_size * best / weight_bytes}


def _batches(
    wanted: Sequence[tuple[list[int], str]], size: int, *, mixed: bool
) -> Iterator[Sequence[tuple[list[int], str]]]:
    """Sorted by length, so that little is padded; without mixing, each batch is of one checkpoint."""
    groups = [wanted] if mixed else [[one for one in wanted if one[1] == name] for name in ("", *ADAPTERS)]
    for group in groups:
        by_length = sorted(group, key=lambda one: len(one[0]))
        for start in range(0, len(by_length), size):
            yield by_length[start : start + size]


def _left_padded(rows: Sequence[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one contestant."""
    parser = argparse.ArgumentParser(prog="python -m training.bench.generate")
    parser.add_argument("contestant", choices=["ours", "hf", "peft-mixed", "llama.cpp", "bandwidth"])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--replicates", type=int, default=2)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args(arguments)
    task = Task(**{name: value for name, value in vars(options).items() if name != "contestant"})
    with redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:  # what libraries print is not ours
        if not task.base.is_dir():
            fetch_base("built_in", "", task.base, lambda *_: None)
        told = _figures(options.contestant, task, Path(folder))
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _figures(contestant: str, task: Task, folder: Path) -> dict[str, Any]:
    if contestant == "bandwidth":
        return bandwidth(task)
    if contestant == "llama.cpp":
        found = llama_cpp(task)
    else:
        adapters = make_adapters(task, folder)
        mixed = contestant == "peft-mixed"
        found = ours(task, adapters) if contestant == "ours" else peers(task, adapters, mixed=mixed)
    return {**asdict(found), "tokens_per_second": found.tokens_per_second}


if __name__ == "__main__":
    sys.exit(main())
