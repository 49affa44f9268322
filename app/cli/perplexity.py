"""``arena perplexity``: how well checkpoints fit a file of a dataset, beside their base."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import select

from app.cli.follow import follow
from app.cli.library import DetachFlag
from app.cli.output import JsonFlag, console, print_rows
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import BadInputError
from app.domain.terms import Split
from app.models import Checkpoint
from app.queries.lookup import find_dataset, find_run
from app.queries.perplexities import PerplexityRow, measurements
from app.services import perplexities


def perplexity(
    names: Annotated[
        list[str], typer.Argument(metavar="[CHECKPOINT]... DATASET", help="Checkpoints, or base, and a dataset.")
    ],
    split: Annotated[Split, typer.Option(help="Which file of the dataset.")] = Split.VALIDATION,
    all_of: Annotated[str, typer.Option("--all-of", help="Every checkpoint of this run.")] = "",
    max_length: Annotated[int, typer.Option(help="Rows with more tokens are left out.")] = perplexities.LONGEST_ROW,
    detach: DetachFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure the perplexity of checkpoints and of their base on a file; what was measured before is shown at once."""
    prepare()
    *checkpoints, dataset = names
    if not checkpoints and not all_of:
        raise BadInputError("Name a checkpoint and a dataset: ./arena perplexity brie-v2/epoch-2 brie")
    with session_scope() as session:
        found = perplexities.checkpoints_of(session, checkpoints)
        if all_of:
            run = find_run(session, all_of)
            of_run = select(Checkpoint).where(Checkpoint.run_id == run.id).order_by(Checkpoint.step)
            found += [one for one in session.scalars(of_run) if one not in found]
            if not found:
                raise BadInputError(f"The run {run.name} has no checkpoint yet. See how far it is: ./arena runs list")
        asked = perplexities.ask(
            session,
            found,
            find_dataset(session, dataset),
            split=split,
            max_length=max_length,
            now=datetime.now(UTC),
        )
    for job_id in () if detach else asked.job_ids:
        follow(job_id, shown=not as_json)
    with session_scope(write=False) as session:
        rows = measurements(session, asked.measurements)
    print_rows([_shown(row) if as_json else _for_terminal(row) for row in rows], as_json=as_json, empty="Nothing.")
    for row in () if as_json else rows:
        if row.sentence:
            console.print(f"{row.checkpoint}: {row.sentence}", highlight=False, soft_wrap=True)


def _shown(row: PerplexityRow) -> dict[str, object]:
    return {
        "checkpoint": row.checkpoint,
        "base": row.is_base,
        "dataset": row.dataset,
        "split": row.split.value,
        "perplexity": row.perplexity,
        "mean_loss": row.mean_loss,
        "base_perplexity": row.base_perplexity,
        "difference": row.paired.difference if row.paired else None,
        "interval": [row.paired.low, row.paired.high] if row.paired else None,
        "tokens": row.tokens,
        "rows": row.rows,
        "skipped_rows": row.skipped_rows,
        "max_length": row.max_length,
        "device": row.device,
        "dtype": row.dtype,
        "measured_at": row.measured_at.isoformat() if row.measured_at else None,
    }


def _for_terminal(row: PerplexityRow) -> dict[str, object]:
    ratio = row.perplexity / row.base_perplexity if row.perplexity and row.base_perplexity else None
    return {
        "checkpoint": row.checkpoint,
        "file": f"{row.dataset}, {row.file}",
        "perplexity": "waiting" if row.perplexity is None else f"{row.perplexity:,.2f}",
        "of base": "" if row.base_perplexity is None or row.is_base else f"{row.base_perplexity:,.2f}",
        "ratio": "" if ratio is None or row.is_base else f"{ratio:.3f}",
        "95% interval": f"{row.paired.ratio[1]:.3f} to {row.paired.ratio[2]:.3f}" if row.paired else "",
        "tokens": f"{row.tokens:,}",
        "rows": f"{row.rows:,}" + (f" ({row.skipped_rows:,} too long)" if row.skipped_rows else ""),
    }
