"""``arena simulate``: raters with a known taste, for learning what the numbers of the arena can and cannot say."""

import random
import shlex
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from app.cli.output import JsonFlag, console, print_json, progress_bar
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import BadInputError
from app.domain.simulation import Taste
from app.domain.words import EVEN
from app.queries.lookup import find_batch
from app.queries.report import report as report_of
from app.services import simulation
from app.services.assignment import Rules

_WHERE = {
    True: "The truth lies inside the live range.",
    False: "The truth lies outside the live range: at most one study in twenty may do that.",
    None: "",
}


def simulate(
    batch: Annotated[
        str, typer.Argument(help="An eval batch that can be voted on; with --remove, empty means all.")
    ] = "",
    rate: Annotated[float, typer.Option(help="True win rate of every challenger, a tie counting as half.")] = 0.65,
    raters: Annotated[int, typer.Option(help="How many simulated raters take turns.")] = 5,
    votes: Annotated[int, typer.Option(help="How many votes; 0 means every free slot.")] = 0,
    noise: Annotated[float, typer.Option(help="How much prompts differ: 0 not at all, 1 as much as can be.")] = 0.1,
    ties: Annotated[float, typer.Option(help="Share of ties.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of tastes and turns.")] = 1,
    remove: Annotated[bool, typer.Option("--remove", help="Take out all simulated votes instead.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Let simulated raters vote with a known truth, or take their votes out again."""
    settings = prepare()
    if remove:
        _remove(batch, as_json=as_json)
        return
    if not batch:
        raise BadInputError("Name the eval batch that simulated raters shall vote on; ./arena batches list shows them.")
    if votes < 0:
        raise BadInputError(f"Nothing was simulated: the number of votes cannot be {votes}.")
    taste = Taste(rate=rate, noise=noise, ties=ties)
    rng = random.Random(seed)  # noqa: S311 (a seed that can be given again is the point)
    with session_scope() as session:
        found = find_batch(session, batch)
        voters = simulation.begin(session, found, raters=raters, now=datetime.now(UTC))
        rates = simulation.tastes_of(session, found, taste, rng)
    wanted = votes or found.planned_pairs * found.votes_per_pair
    cast = 0
    with progress_bar(shown=not as_json) as bar:
        task = bar.add_task("simulated votes", total=wanted)
        while voters and cast < wanted:
            voter, now = rng.choice(voters), datetime.now(UTC)
            with session_scope() as session:
                verdict = simulation.vote_once(
                    session, found.id, voter, taste, rates, rules=Rules.of(settings), now=now, rng=rng
                )
            if verdict is None:
                voters.remove(voter)
            else:
                cast += 1
                bar.update(task, completed=cast)
    with session_scope(write=False) as session:
        report = report_of(session, found.id)
    baseline = report["batch"]["baseline"]
    matchups = [_compared(one, rate if one["baseline"] == baseline else EVEN) for one in report["matchups"]]
    if as_json:
        told = {"rate": rate, "noise": noise, "ties": ties, "raters": raters, "seed": seed}
        print_json({"batch": found.name, "simulated_votes": cast, **told, "matchups": matchups})
        return
    short = f" of {votes}: no free pair is left for them" if cast < votes else ""
    console.print(f"{cast} simulated votes{short}. The truth is {rate:.1%}.", highlight=False)
    for matchup in matchups:
        console.print(matchup["sentence"], _WHERE[matchup["truth_inside"]], highlight=False, soft_wrap=True)
    again = f"./arena simulate {shlex.quote(found.name)} --remove"
    console.print(f"Take them out again: {again}", highlight=False, soft_wrap=True)


def _compared(matchup: dict[str, Any], truth: float) -> dict[str, Any]:
    """A matchup of the report, and whether its live interval holds the truth; ``None`` while it is too early."""
    live = matchup["raters"]["all"]["live"]
    return {
        "baseline": matchup["baseline"],
        "challenger": matchup["challenger"],
        "sentence": matchup["sentence"],
        "win_rate": matchup["raters"]["all"]["win_rate"],
        "live": live,
        "truth": truth,
        "truth_inside": live[0] <= truth <= live[1] if live else None,
    }


def _remove(batch: str, *, as_json: bool) -> None:
    with session_scope() as session:
        found = find_batch(session, batch) if batch else None
        removed = simulation.remove(session, found)
    where = found.name if found else "all eval batches"
    if as_json:
        print_json({"batch": found.name if found else None, "removed_votes": removed})
    else:
        console.print(f"{removed} simulated votes taken out of {where}; nothing else was changed.", highlight=False)
