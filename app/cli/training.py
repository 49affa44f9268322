"""``arena train | runs | checkpoints``: from a recipe to checkpoints."""

import math
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.follow import follow
from app.cli.library import DetachFlag, NameOption
from app.cli.output import JsonFlag, console, print_json, print_rows, save
from app.cli.prepare import prepare
from app.config import DATA, get_settings
from app.db import session_scope
from app.domain.recipe_changes import setting, with_changes
from app.domain.recipe_rules import full_key
from app.domain.recipes import RecipeRow, find_recipe, read_mix, recipe_of
from app.domain.terms import Split
from app.machine import find_machine
from app.models import Run
from app.queries.checkpoints import checkpoint_page, checkpoint_rows
from app.queries.lookup import find_checkpoint, find_run
from app.queries.model_card import model_card
from app.queries.retraining import retraining
from app.queries.run_log import log_text
from app.queries.runs import losses, run_page, run_rows
from app.queries.training_memory import memory_of_run
from app.services.runs import cancel_run, launch_sweep, next_name
from app.web.model_card import card_of

SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A key of the recipe to change, such as train.learning_rate=2e-4.")
]

DatasetsOption = Annotated[
    list[str] | None,
    typer.Option(help="Another dataset than the recipe's; several are mixed: --dataset brie=2 --dataset notes."),
]

runs = typer.Typer(help="Runs: one training execution each.", no_args_is_help=True)
checkpoints = typer.Typer(help="Checkpoints: what can answer.", no_args_is_help=True)


def train(
    recipe: Annotated[str, typer.Argument(help="brie-v1, brie-v2, another shipped recipe, or a .toml file.")],
    dataset: DatasetsOption = None,
    base: Annotated[str, typer.Option(help="Another base model than the recipe's.")] = "",
    changes: SetOption = None,
    name: NameOption = "",
    detach: DetachFlag = False,
) -> None:
    """Train an adapter and show how its loss falls; a recipe with lists (r = [8, 16]) trains one for each value."""
    prepare()
    found = _changed(find_recipe(DATA / "recipes", recipe), changes)
    mix = read_mix(dataset or ())
    with session_scope() as session:
        launched = launch_sweep(session, found, now=datetime.now(UTC), mix=mix, base=base, name=name)
    _followed(launched, detach=detach)


def _changed(recipe: RecipeRow, changes: Sequence[str] | None) -> RecipeRow:
    """The recipe with what ``--set`` asks for."""
    typed = [setting(one) for one in changes or ()]
    return with_changes(recipe, {full_key(key): value for key, value in typed}, f"The recipe {recipe.name}")


def _followed(launched: Sequence[Run], *, detach: bool) -> None:
    """Name the runs and what they will take of the memory, and unless that was not wanted show how they go."""
    machine = find_machine(get_settings().device)
    with session_scope(write=False) as session:
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
        trained = losses(session, page.run.id, Split.TRAIN)
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
        "train": [{"step": point.step, "loss": point.loss} for point in trained],
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


@runs.command("again")
def runs_again(
    run: Annotated[str, typer.Argument(help="The run whose recipe is used again.")],
    changes: SetOption = None,
    dataset: DatasetsOption = None,
    base: Annotated[str, typer.Option(help="Another base model than that run's.")] = "",
    name: NameOption = "",
    detach: DetachFlag = False,
) -> None:
    """Train a run again with changes; without a name it is called after the run: NAME-2."""
    prepare()
    with session_scope() as session:
        found = retraining(session, find_run(session, run).id)
        applied = {"base_model": base or found.base_model}
        if found.dataset:  # a mix stands in the recipe
            applied["dataset"] = found.dataset
        launched = launch_sweep(
            session,
            _changed(recipe_of({**found.run.recipe, **applied}, f"The recipe of {run}"), changes),
            now=datetime.now(UTC),
            mix=read_mix(dataset or ()),
            name=name or next_name(session, found.run.name),
            came_from=found.run,
        )
    _followed(launched, detach=detach)


@runs.command("log")
def runs_log(name: str) -> None:
    """Print what a run said, with the times in UTC."""
    prepare()
    with session_scope(write=False) as session:
        sys.stdout.write(log_text(session, find_run(session, name).id))


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
