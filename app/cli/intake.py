"""``arena checkpoints add | delete | clean``: bringing adapters from elsewhere, and making room."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from app.cli.follow import follow
from app.cli.library import DetachFlag, NameOption
from app.cli.output import console
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import BadInputError
from app.domain.terms import IntakeState, Keep
from app.queries.intake import IntakeRow, intake_row
from app.queries.lookup import find_checkpoint, find_run
from app.services.intake import CHECKPOINT_FILES, add_intake
from app.services.receiving import kept_upload
from app.services.removal import clean_run, delete_checkpoint


def add(
    path: Annotated[Path, typer.Argument(help="A folder, a .zip or a .tar.gz with an adapter of peft or mlx-lm.")],
    base: Annotated[str, typer.Option(help="The base model it was trained on; left out, the one that fits.")] = "",
    name: NameOption = "",
    detach: DetachFlag = False,
) -> None:
    """Check an adapter from elsewhere and add it as a checkpoint."""
    settings = prepare()
    with ExitStack() as opened:
        files = _files(path, opened)
        called = path.resolve().name if path.is_dir() else ""
        kept = opened.enter_context(kept_upload(files, artifacts=settings.artifacts, called=called))
        with session_scope() as session:
            intake = add_intake(session, kept, now=datetime.now(UTC), name=name, base=base)
    if detach:
        console.print(f"{intake.name}: queued. `./arena status` shows how far it is.", highlight=False)
        return
    follow(intake.job_id)
    with session_scope(write=False) as session:
        row = intake_row(session, intake.id)
    _tell(row)


def _files(path: Path, opened: ExitStack) -> list[tuple[str, BinaryIO]]:
    """What is sent of a path: the file, or of a folder what belongs to a checkpoint."""
    try:
        there = sorted(path.iterdir()) if path.is_dir() else [path]
        taken = [file for file in there if file.name in CHECKPOINT_FILES] if path.is_dir() else there
        left = [file.name for file in there if file not in taken]
        if left:
            console.print(f"Left out, unread: {', '.join(left)}", highlight=False, markup=False)
        if not taken:
            raise BadInputError(f"{path} holds no adapter: none of {', '.join(CHECKPOINT_FILES)} is there.")
        return [(file.name, opened.enter_context(file.open("rb"))) for file in taken]
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}). Check the path.") from error


def _tell(row: IntakeRow) -> None:
    if row.state is IntakeState.REFUSED:
        raise BadInputError(row.reason)
    console.print(f"Checkpoint {row.checkpoint} on {row.base_model}", highlight=False, markup=False)
    for note in row.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)


def delete(name: Annotated[str, typer.Argument(help="Name or fingerprint of a checkpoint.")]) -> None:
    """Delete a checkpoint and its folder; never one that a result depends on."""
    settings = prepare()
    with session_scope() as session:
        checkpoint = find_checkpoint(session, name)
        called = checkpoint.name
        delete_checkpoint(session, checkpoint, artifacts=settings.artifacts, now=datetime.now(UTC))
    console.print(f"Deleted: {called}", highlight=False, markup=False)


def clean(
    run: Annotated[str, typer.Argument(help="Name of a run.")],
    keep: Annotated[Keep, typer.Option(help="best: the lowest validation loss; or last.")] = Keep.BEST,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Delete the checkpoints of a run but the best; those that a result depends on stay too."""
    settings = prepare()
    with session_scope() as session:
        done = clean_run(
            session,
            find_run(session, run),
            artifacts=settings.artifacts,
            now=datetime.now(UTC),
            keep=keep,
            dry_run=dry_run,
        )
    for stays in done.kept:
        console.print(f"Kept: {stays.name} ({stays.reason})", highlight=False, markup=False)
    for gone in done.removed:
        console.print(f"{'Would delete' if dry_run else 'Deleted'}: {gone}", highlight=False, markup=False)
    console.print(f"{'Would free' if dry_run else 'Freed'}: {done.freed_bytes / 1e6:.1f} MB", highlight=False)
