"""``arena models | suites | datasets``: what training and comparing start from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.follow import follow
from app.cli.output import JsonFlag, console, print_rows
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.terms import BaseModelState
from app.queries.base_models import base_model_rows
from app.queries.datasets import dataset_rows
from app.queries.suites import suite_rows
from app.services.base_models import add_base_model, fetch_base_model
from app.services.datasets import import_dataset
from app.services.suites import import_suite

models = typer.Typer(help="Base models: frozen weights that adapters sit on.", no_args_is_help=True)
suites = typer.Typer(help="Suites: frozen, versioned sets of prompts.", no_args_is_help=True)
datasets = typer.Typer(help="Datasets: frozen, hashed training files.", no_args_is_help=True)

NameOption = Annotated[str, typer.Option("--name", help="Another name than the default.")]
DetachFlag = Annotated[bool, typer.Option("--detach", help="Queue it and return at once.")]


@models.command("list")
def models_list(as_json: JsonFlag = False) -> None:
    """List base models with the hashes that identify them."""
    prepare()
    with session_scope(write=False) as session:
        rows = [
            {
                "name": row.name,
                "state": row.state.value,
                "source": row.source.value,
                "location": row.location,
                "revision": row.revision,
                "parameters": row.parameters,
                "weights": row.weights_hash,
                "tokenizer": row.tokenizer_hash,
                "template": row.template_hash,
                "error": row.error,
            }
            for row in base_model_rows(session)
        ]
    if not as_json:
        for row in rows:
            for key in ("weights", "tokenizer", "template"):
                row[key] = str(row[key])[:12]
    print_rows(rows, as_json=as_json, empty="No base model yet. Add one: ./arena models add smollm2-135m")


@models.command("add")
def models_add(
    wanted: Annotated[str, typer.Argument(help="smollm2-135m, a folder, or a hub id like Qwen/Qwen2.5-0.5B-Instruct.")],
    name: NameOption = "",
    detach: DetachFlag = False,
) -> None:
    """Bring a base model to this machine and hash it."""
    prepare()
    now = datetime.now(UTC)
    with session_scope() as session:
        model = add_base_model(session, wanted, now=now, name=name)
        ready = model.state is BaseModelState.READY
        job_id = None if ready else fetch_base_model(session, model, now=now).id
    if not detach:
        follow(job_id)
    console.print(f"{model.name}: {'queued' if detach and not ready else 'ready'}.", highlight=False)


@suites.command("list")
def suites_list(as_json: JsonFlag = False) -> None:
    """List suites."""
    prepare()
    with session_scope(write=False) as session:
        rows = [
            {
                "name": row.name,
                "version": row.version,
                "prompts": row.prompts,
                "in_domain": row.in_domain,
                "out_of_domain": row.out_of_domain,
                "categories": list(row.categories) if as_json else ", ".join(row.categories),
            }
            for row in suite_rows(session)
        ]
    print_rows(rows, as_json=as_json, empty="No suite yet. Import one: ./arena suites import FILE")


@suites.command("import")
def suites_import(path: Annotated[Path, typer.Argument(help="A .jsonl file.")], name: NameOption = "") -> None:
    """Import a suite; a changed file becomes the next version."""
    prepare()
    with session_scope() as session:
        suite = import_suite(session, path, now=datetime.now(UTC), name=name)
    console.print(f"Suite {suite.name}, version {suite.version}.", highlight=False)


@datasets.command("list")
def datasets_list(as_json: JsonFlag = False) -> None:
    """List datasets."""
    prepare()
    with session_scope(write=False) as session:
        rows = [
            {
                "name": row.name,
                "version": row.version,
                "rows": row.rows,
                "validation_rows": row.validation_rows,
                "sha256": row.sha256 if as_json else row.sha256[:12],
                "runs": row.runs,
            }
            for row in dataset_rows(session)
        ]
    print_rows(rows, as_json=as_json, empty="No dataset yet. Import one: ./arena datasets import FILE")


@datasets.command("import")
def datasets_import(
    path: Annotated[Path, typer.Argument(help="A .jsonl file with conversations.")],
    validation: Annotated[Path | None, typer.Option("--validation", help="File to measure the loss on.")] = None,
    name: NameOption = "",
) -> None:
    """Check, copy and hash a training file."""
    settings = prepare()
    with session_scope() as session:
        dataset = import_dataset(
            session,
            path,
            validation_path=validation,
            artifacts=settings.artifacts,
            now=datetime.now(UTC),
            name=name,
        )
    console.print(f"Dataset {dataset.name}, version {dataset.version}: {dataset.rows} rows.", highlight=False)
