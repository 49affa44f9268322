"""What commands do before they spend money: say the cost and from which table it is, and ask."""

import sys
from typing import Annotated

import typer

from app.cli.output import console
from app.providers.prices import in_words

YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask before money is spent.")]


def agree(what: str, worst: int | None, table: str, *, expected: int | None = None, yes: bool, free: bool) -> None:
    """Print what it will cost and ask on a terminal; elsewhere the cost has to be agreed to with ``--yes``.

    ``free``: a simulated judge, whose figures only say what its model would cost.
    """
    if worst is None:
        console.print(
            f"{what}; the model has no price in {table}, so no cap can hold.", highlight=False, soft_wrap=True
        )
        return
    about = f"about {in_words(expected)}, " if expected is not None else ""
    simulated = " It is simulated, so nothing is paid." if free else ""
    console.print(f"{what}; {about}at most {in_words(worst)} by {table}.{simulated}", highlight=False, soft_wrap=True)
    if yes or free or not worst:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            f"This may cost {in_words(worst)}, and nobody is here to ask. Nothing was started; give --yes to agree."
        )
    if not typer.confirm("Go on?", err=True):
        raise typer.Exit(1)
