"""``arena checkpoints export``: a checkpoint for other programs, in a folder."""

import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.follow import follow
from app.cli.output import console
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import BadInputError
from app.domain.terms import NumberFormat, PackageKind
from app.models import Package
from app.queries.lookup import find_checkpoint
from app.queries.packages import package_folder
from app.services.packages import ask_for_package
from app.services.removal import delete_package
from app.web.model_card import card_for_package


def export(
    name: Annotated[str, typer.Argument(help="Name or fingerprint of a checkpoint.")],
    out: Annotated[Path, typer.Option("--out", help="A folder that is new or empty.")],
    kind: Annotated[
        PackageKind, typer.Option("--format", help="For peft; as a full model; or for llama.cpp.")
    ] = PackageKind.ADAPTER,
    number_format: Annotated[
        NumberFormat, typer.Option("--dtype", help="How a merged model writes its weights.")
    ] = NumberFormat.FLOAT32,
) -> None:
    """Write a checkpoint for other programs: as adapter, merged into its base, or as GGUF; with its model card."""
    settings = prepare()
    out = out.resolve()
    _require_free(out)
    now = datetime.now(UTC)
    with session_scope() as session:
        checkpoint = find_checkpoint(session, name)
        card = card_for_package(session, checkpoint, kind, number_format)
        package = ask_for_package(session, checkpoint, kind, card=card, now=now, number_format=number_format)
        called, made_here = checkpoint.name, package.created_at == now
    follow(package.job_id)
    off = _hand_over(package.id, out)
    if made_here:  # one that somebody asked for on the page waits for them
        with session_scope() as session:
            package = session.get_one(Package, package.id)
            delete_package(session, package, artifacts=settings.artifacts, now=datetime.now(UTC))
    console.print(f"{called} is in {out}", highlight=False, markup=False, soft_wrap=True)
    if off is not None:
        console.print(f"Asked the same as base and adapter, its logits differ by {off:.1e} of the largest.")


def _require_free(out: Path) -> None:
    try:
        free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    except OSError as error:
        raise BadInputError(f"{out} cannot be read ({error.strerror}). Choose another folder.") from error
    if not free:
        raise BadInputError(f"{out} holds something already, and nothing was written. Choose a new or an empty folder.")


def _hand_over(package_id: uuid.UUID, out: Path) -> float | None:
    """Copy the files; ``out`` appears when all are there."""
    with session_scope(write=False) as session:
        folder, _ = package_folder(session, package_id)
        off = session.get_one(Package, package_id).off
    partial = out.parent / f".{out.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        partial.rename(out)
    except (OSError, shutil.Error) as error:
        raise BadInputError(f"{out} cannot be written ({error}). The package was kept: try another folder.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return off
