"""What a report was made from, and why its numbers can be trusted. Written from the report and its verification."""

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from app.queries.frozen_report import FrozenReport
from app.web.filters import count, moment, plural


def origin(told: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Facts in groups: the comparison, then each checkpoint. What is not known is left out."""
    known = told["provenance"]
    plan, suite = known["plan"], known["suite"]
    prompts = suite["prompts"]
    rows = [
        ("Eval batch", told["batch"]["id"]),
        (
            "Suite",
            f"{suite['name']} v{suite['version']}, {count(prompts)} {plural(prompts, 'prompt')}",
        ),
        ("Hash of the suite", suite["sha256"]),
        ("Who meets whom", _DESIGNS[plan["design"]]),
        ("Replicates", count(plan["replicates"])),
        ("Sampling", ", ".join(f"{name} {value}" for name, value in plan["sampling"].items())),
        *_server(plan.get("server")),
        ("System prompt", plan["system_prompt"]),
        ("Seed", str(plan["seed"])),
        ("Launched", _moment(plan["launched_at"])),
        ("Closed", _moment(plan["closed_at"])),
        ("Software", ", ".join(f"{name} {version}" for name, version in known["software"].items())),
    ]
    yield tuple(row for row in rows if row[1])
    served = (plan.get("server") or {}).get("models", {})
    for place, one in enumerate(known["checkpoints"]):
        rows = list(_checkpoint(one, "Challenger" if place else "Baseline"))
        there = served.get(one["fingerprint"])
        if there:
            rows.append(("Weights", f"not verified: what the server calls {there}"))
        yield tuple(row for row in rows if row[1])


def _server(server: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Who wrote in place of the arena."""
    if server is None:
        return
    software = f" ({server['software']})" if server["software"] else ""
    unknown = "Which weights answer there cannot be checked from outside, so no checkpoint is verified by its hash."
    yield "Responses by", f"the server at {server['url']}{software}. {unknown}"
    for warning in server["warnings"]:
        yield "Looked odd", warning


def _checkpoint(one: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    early = "" if one["is_last"] else ", not the last of its run"
    yield place, one["name"]
    yield "Fingerprint", one["fingerprint"]
    yield "Base model", one["base_model"]
    yield "Weights", "not here: responses only" if one["kind"] == "external" else ""
    yield "Run", f"{one['run']}, step {count(one['step'])}{early}" if one["run"] else ""
    yield "Recipe", one["recipe"]
    dataset = one["dataset"]
    if dataset:
        yield "Dataset", f"{dataset['name']} v{dataset['version']}"
        yield "Hash of the training file", dataset["sha256"]
        yield "Hash of the validation file", dataset["validation_sha256"]
    for word, name in (
        ("Hash of the base weights", "base_hashes"),
        ("Hash of the chat template", "template_hashes"),
        ("Engine", "engines"),
    ):
        for value in one.get(name, ()):
            yield word, value


def verification(report: FrozenReport) -> Iterator[str]:
    """What was recomputed, and the hash by which this report is known."""
    found = report.verified
    if found is None:
        yield (
            "Every number here follows from raw ballots and verdicts. This page does not compute them all again each "
            "time it is opened; the files above do when they are written, and say what came of it."
        )
    elif found.holds:
        checked = found.checked
        yield (
            f"Verified. When this report was written, all {count(checked.numbers)} values of it were computed again "
            f"from {count(checked.ballots)} raw {plural(checked.ballots, 'ballot')} and {count(checked.verdicts)} "
            f"{plural(checked.verdicts, 'verdict')} and came out the same; {count(checked.seals)} "
            f"{plural(checked.seals, 'seal')} over plan, texts, orders and votes "
            f"{plural(checked.seals, 'fits', 'fit')}."
        )
        if checked.older:
            yield f"{count(checked.older)} {plural(checked.older, 'row')} from before seals carry none."
    else:
        mismatches = f"{count(found.total)} {plural(found.total, 'mismatch', 'mismatches')}"
        yield f"Not verified: {mismatches} between what is stored and what follows. {found.mismatches[0].sentence}"
    yield (
        f"The numbers are those of the arena's own JSON, schema {report.told['schema']}. Written with sorted keys and "
        f"without spaces, it has the SHA-256 hash {report.sha256}. Judges may be asked after an eval batch has closed; "
        "the hash changes then."
    )
    name = shlex.quote(report.name)
    yield f"Whoever has the arena repeats this with “./arena verify {name}” and “./arena report {name} --json”."


_DESIGNS = {"star": "each challenger meets the baseline", "round_robin": "everybody meets everybody"}


def _moment(when: str | None) -> str:
    return moment(datetime.fromisoformat(when)) if when else ""
