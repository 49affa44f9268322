"""The model card of an adapter as Hugging Face writes them: Markdown below a block of YAML."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.domain.terms import NumberFormat, PackageKind
from app.models import Checkpoint
from app.queries.checkpoints import checkpoint_page
from app.queries.model_card import CardResult, ModelCard, model_card
from app.web.filters import count, number, percent, span
from app.web.markdown_text import escaped

_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
_LIMITS = (
    (
        "The results are about prompts like those of the suite, in its language, and about the raters who were asked. "
        "They say what was preferred, not what is true or safe."
    ),
    "Whether it repeats rows of its training data, and how it answers harmful requests, was not measured.",
    "A small model that is fine-tuned on few conversations invents facts with confidence.",
    "The licence of this adapter is not known to the arena: it depends on the base model and on the training data.",
)


_LIBRARIES = {PackageKind.ADAPTER: "peft", PackageKind.MERGED: "transformers", PackageKind.GGUF: "gguf"}


def card_for_package(
    session: Session, checkpoint: Checkpoint, kind: PackageKind, number_format: NumberFormat = NumberFormat.FLOAT32
) -> str:
    """The card that goes along with a package; of an adapter from elsewhere it says what is known here, and no more."""
    if checkpoint.run_id is not None:
        return card_of(model_card(session, checkpoint.id), kind, number_format)
    known = checkpoint_page(session, checkpoint.id).checkpoint
    front = {
        "base_model": known.base_model, "library_name": _LIBRARIES[kind], "license": "unknown",
        "pipeline_tag": "text-generation", "tags": ["lora", "brie-arena"],
    }  # fmt: skip
    what = f"A LoRA adapter on {escaped(known.base_model)} that was trained elsewhere{_form(kind, number_format)}."
    facts = _list(("Fingerprint", f"`{known.fingerprint}`"))
    unknown = "What it was trained on is not known to the arena."
    return "\n\n".join([f"---\n{_yaml(front)}---", f"# {escaped(known.name)}", what, facts, unknown]) + "\n"


def card_of(
    card: ModelCard, kind: PackageKind = PackageKind.ADAPTER, number_format: NumberFormat = NumberFormat.FLOAT32
) -> str:
    """The whole file, a README.md for a model repository that holds the checkpoint in this form."""
    front = _front(card) | {"library_name": _LIBRARIES[kind]}
    return "\n\n".join([f"---\n{_yaml(front)}---", *_body(card, _form(kind, number_format))]) + "\n"


def _form(kind: PackageKind, number_format: NumberFormat) -> str:
    """How a package differs from the adapter that was trained, as the end of a sentence."""
    if kind is PackageKind.MERGED:
        return f", merged into its base in {number_format}"
    return ", written for llama.cpp" if kind is PackageKind.GGUF else ""


def _front(card: ModelCard) -> dict[str, Any]:
    results = [
        {
            "task": {"type": "text-generation", "name": "Blind comparison by people"},
            "dataset": {"type": "brie-arena-suite", "name": result.suite, "revision": result.suite_sha256},
            "metrics": [
                {
                    "type": "win_rate",
                    "value": round(matchup["raters"]["all"]["win_rate"], 4),
                    "name": _metric(matchup, "With simulated votes: preferred" if result.simulated else "Preferred"),
                }
            ],
        }
        for result in card.results
        for matchup in result.matchups
        if matchup["challenger"] == card.name and matchup["raters"]["all"]["fixed"]
    ]
    return {
        "base_model": card.base_hub_id or card.base_model,
        "library_name": "peft",
        "license": "unknown",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "brie-arena", str(card.run.run.kind)],
        **({"model-index": [{"name": card.name, "results": results}]} if results else {}),
    }


def _metric(matchup: Mapping[str, Any], what: str) -> str:
    return f"{what} to {matchup['baseline']}, fixed range {span(*matchup['raters']['all']['fixed'])}"


def _body(card: ModelCard, form: str) -> Iterator[str]:
    checkpoint, run = card.page.checkpoint, card.run
    yield f"# {escaped(card.name)}"
    on, run_name = escaped(card.base_hub_id or card.base_model), escaped(checkpoint.run_name)
    yield f"A LoRA adapter on {on}, saved after step {count(checkpoint.step)} of the run {run_name}{form}." + (
        "" if checkpoint.is_last else " It is not the last of its run."
    )
    yield "## What came of it"
    told = [line for result in card.results for line in _told(result)]
    yield from told or ["No eval batch in which it took part has been closed yet."]
    yield "## What it is"
    loss = checkpoint.validation_loss
    yield _list(
        ("Fingerprint", f"`{checkpoint.fingerprint}`"),
        ("Base weights", f"`{card.base_weights_hash}`" if card.base_weights_hash else ""),
        *(("Dataset", f"{escaped(one.name)}, {count(one.rows)} rows, SHA-256 `{one.sha256}`") for one in card.data),
        ("Trained parameters", count(run.trainable_parameters) if run.trainable_parameters else ""),
        ("Validation loss", "" if loss is None else f"{number(loss)} nats per token"),
        ("Trained on", escaped(" ".join(part for part in (run.device, run.dtype) if part))),
    )
    yield "## Recipe"
    yield "\n".join(
        ["| setting | value |", "|---|---|"] + [f"| {escaped(key)} | {escaped(value)} |" for key, value in run.recipe]
    )
    yield "## Limits"
    yield "\n".join(f"- {limit}" for limit in _LIMITS)


def _told(result: CardResult) -> Iterator[str]:
    yield f"### {escaped(result.batch)}, on {escaped(result.suite)}"
    if result.mapping_suspect:
        yield "No result: an order was found mixed up between database and page."
    for matchup in result.matchups:
        yield escaped(matchup["fixed_sentence"])
        cells = {**matchup["raters"]["domains"], **matchup["raters"]["categories"]}
        known = {label: cell for label, cell in cells.items() if cell["fixed"]}
        if known:
            yield "\n".join(_slices(known))
    if not result.mapping_suspect:
        yield (
            "Voted on blind by people; each text was shown without a name and in an order that the server drew. The "
            "range is the fixed one, read once after the last vote, with votes on the same prompt counted as related."
        )


def _slices(cells: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| prompts | votes | win rate | fixed range |"
    yield "|---|---:|---:|---:|"
    for label, cell in cells.items():
        yield f"| {escaped(label)} | {count(cell['n'])} | {percent(cell['win_rate'])} | {span(*cell['fixed'])} |"


def _list(*rows: tuple[str, str]) -> str:
    return "\n".join(f"- {word}: {value}" for word, value in rows if value)


def _yaml(value: Mapping[str, Any], indent: str = "") -> str:
    """A mapping as YAML. Scalars are written as JSON, which is YAML as well and needs no guess about quotes."""
    lines = ""
    for key, item in value.items():
        if isinstance(item, Mapping):
            lines += f"{indent}{key}:\n{_yaml(item, indent + '  ')}"
        elif isinstance(item, list):
            lines += f"{indent}{key}:\n" + "".join(_entry(one, indent) for one in item)
        else:
            lines += f"{indent}{key}: {_scalar(item)}\n"
    return lines


def _entry(item: Any, indent: str) -> str:
    if isinstance(item, Mapping):
        return f"{indent}- {_yaml(item, indent + '  ').removeprefix(indent + '  ')}"
    return f"{indent}- {_scalar(item)}\n"


def _scalar(item: Any) -> str:
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(item, ensure_ascii=False))
