"""``arena train | runs | checkpoints``: from a recipe to checkpoints."""

import math
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.follow import follow
from app.cli.library import DetachFlag, NameOption
from app.cli.output import JsonFlag, console, print_json, print_rows, save
from app.cli.prepare import prepare
from app.config import DATA
from app.db import session_scope
from app.domain.recipes import find_recipe, read_mix
from app.machine import find_machine
from app.queries.checkpoints import checkpoint_page, checkpoint_rows
from app.queries.lookup import find_checkpoint, find_run
from app.queries.model_card import model_card
from app.queries.runs import run_page, run_rows
from app.queries.training_memory import memory_of_run
from app.services.runs import cancel_run, launch_sweep
from app.web.model_card import card_of

runs = typer.Typer(help="Runs: one training execution each.", no_args_is_help=True)
checkpoints = typer.Typer(help="Checkpoints: what can answer.", no_args_is_help=True)


def train(
    recipe: Annotated[str, typer.Argument(help="brie-v1, brie-v2, another shipped recipe, or a .toml file.")],
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Another dataset than the recipe's; several are mixed: --dataset brie=2 --dataset notes."),
    ] = None,
    base: Annotated[str, typer.Option(help="Another base model than the recipe's.")] = "",
    name: NameOption = "",
    detach: DetachFlag = False,
) -> None:
    """Train an adapter and show how its loss falls; a recipe with lists (r = [8, 16]) trains one for each value."""
    machine = find_machine(prepare().device)
    with session_scope() as session:
        launched = launch_sweep(
            session,
            find_recipe(DATA / "recipes", recipe),
            now=datetime.now(UTC),
            mix=read_mix(dataset or ()),
            base=base,
            name=name,
        )
        memory = {run.id: memory_of_run(session, run.id, machine) for run in launched}
    for run in launched:
        console.print(f"Run {run.name}", highlight=False)
        if expected := memory[run.id]:
            console.print(f"  {expected.sentence}", highlight=False, style=None if expected.fits else "yellow")
    for run in () if detach else launched:
        follow(run.job_id)
        _told(run.id)


def _told(run_id: uuid.UUID) -> None:
    """What a run came to."""
    with session_scope(write=False) as session:
        page = run_page(session, run_id)
    for note in page.notes:
        console.print(f"Note: {note}", highlight=False)
    console.print(page.sentence, highlight=False)
    for checkpoint in page.checkpoints:
        console.print(f"  {checkpoint.name}  {checkpoint.fingerprint[:12]}", highlight=False)


@runs.command("list")
def runs_list(as_json: JsonFlag = False) -> None:
    """List runs."""
    prepare()
    with session_scope(write=False) as session:
        rows = [
            {
                "name": row.name,
                "recipe": row.recipe,
                "dataset": row.dataset,
                "base_model": row.base_model,
                "state": row.job.state.value if row.job else None,
                "done": row.job.done if row.job else None,
                "total": row.job.total if row.job else None,
                "first_loss": row.first_loss,
                "last_loss": row.last_loss,
            }
            for row in run_rows(session)
        ]
    print_rows(rows, as_json=as_json, empty="No run yet. Start one: ./arena train brie-v1")


@runs.command("show")
def runs_show(name: str, as_json: JsonFlag = False) -> None:
    """Show one run with its losses and checkpoints."""
    prepare()
    with session_scope(write=False) as session:
        page = run_page(session, find_run(session, name).id)
    job = page.run.job
    shown = {
        "name": page.run.name,
        "state": job.state.value if job else None,
        "sentence": page.sentence,
        "done": job.done if job else None,
        "total": job.total if job else None,
        "eta_seconds": job.eta_seconds if job else None,
        "error": job.error if job else "",
        "dataset": page.run.dataset,
        "base_model": page.run.base_model,
        "device": page.device,
        "dtype": page.dtype,
        "peak_memory_bytes": page.peak_memory_bytes,
        "notes": list(page.notes),
        "train": [{"step": point.step, "loss": point.loss} for point in page.train],
        "validation": [{"step": point.step, "loss": point.loss} for point in page.validation],
        "checkpoints": [checkpoint.name for checkpoint in page.checkpoints],
    }
    if as_json:
        print_json(shown)
        return
    console.print(page.sentence, highlight=False)
    for key in ("state", "dataset", "base_model", "device", "dtype", "error"):
        console.print(f"  {key.replace('_', ' ')}: {shown[key]}", highlight=False)
    validation = ", ".join(
        f"{point.loss:.3f} at step {point.step} (perplexity {math.exp(point.loss):.1f})" for point in page.validation
    )
    console.print(f"  validation loss: {validation or 'none yet'}", highlight=False)
    console.print(f"  checkpoints: {', '.join(c.name for c in page.checkpoints) or 'none yet'}", highlight=False)


@runs.command("cancel")
def runs_cancel(name: str) -> None:
    """Ask a run to stop; what it learned is saved."""
    prepare()
    with session_scope() as session:
        cancel_run(session, find_run(session, name), now=datetime.now(UTC))
    console.print(f"{name} stops after the step in hand; what it learned is saved.", highlight=False)


@checkpoints.command("list")
def checkpoints_list(as_json: JsonFlag = False) -> None:
    """List checkpoints."""
    prepare()
    with session_scope(write=False) as session:
        rows = [
            {
                "name": row.name,
                "kind": row.kind.value,
                "base_model": row.base_model,
                "step": row.step,
                "last_of_run": row.is_last,
                "validation_loss": row.validation_loss,
                "effect": row.effect_passed,
                "fingerprint": row.fingerprint if as_json else row.fingerprint[:12],
            }
            for row in checkpoint_rows(session)
        ]
    print_rows(rows, as_json=as_json, empty="No checkpoint yet. Train one: ./arena train brie-v1")


@checkpoints.command("card")
def checkpoints_card(
    name: str, out: Annotated[Path | None, typer.Option(help="Write it here; printed otherwise.")] = None
) -> None:
    """Write the model card of an adapter, as Hugging Face has them."""
    prepare()
    with session_scope(write=False) as session:
        card = card_of(model_card(session, find_checkpoint(session, name).id))
    if out is None:
        sys.stdout.write(card)
    else:
        save(out, card)


@checkpoints.command("show")
def checkpoints_show(name: str, as_json: JsonFlag = False) -> None:
    """Show one checkpoint with its lineage."""
    prepare()
    with session_scope(write=False) as session:
        page = checkpoint_page(session, find_checkpoint(session, name).id)
    row = page.checkpoint
    shown = {
        "name": row.name,
        "kind": row.kind.value,
        "fingerprint": row.fingerprint,
        "base_model": row.base_model,
        "run": row.run_name,
        "dataset": page.dataset,
        "step": row.step,
        "epoch": row.epoch,
        "last_of_run": row.is_last,
        "validation_loss": row.validation_loss,
        "size_bytes": row.size_bytes,
        "folder": page.folder,
        "effect": page.effect if as_json else {key: page.effect[key] for key in page.effect if key != "layers"},
        "batches": [name for _, name in page.batches],
    }
    if as_json:
        print_json(shown)
    else:
        for key, value in shown.items():
            console.print(f"{key.replace('_', ' ')}: {value}", highlight=False)
