"""``arena batches plan``: what a launch would ask for, could find out and would cost, before anything is frozen."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from app.cli.output import JsonFlag, console, print_json, print_rows
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.sampling import Sampling
from app.domain.terms import Design
from app.domain.words import percent
from app.providers.prices import in_words
from app.queries.plans import PlanView
from app.services import planning
from app.services.eval_batches import BASE_WORD, LaunchPlan
from app.services.judges import find_judge
from app.services.planning import JudgeCost, Planned
from app.web.filters import roughly


def batches_plan(
    suite: Annotated[str, typer.Option(help="Name of a suite, or name@version.")],
    challenger: Annotated[list[str], typer.Option(help="A checkpoint; may be given several times.")],
    baseline: Annotated[str, typer.Option(help="A checkpoint, or the word base.")] = BASE_WORD,
    replicates: Annotated[int, typer.Option(help="Responses per prompt and checkpoint.")] = 1,
    votes: Annotated[int, typer.Option(help="Votes wanted per pair.")] = 1,
    max_new_tokens: Annotated[int, typer.Option(help="Longest response, in tokens.")] = Sampling.max_new_tokens,
    round_robin: Annotated[bool, typer.Option("--round-robin", help="Challengers also meet each other.")] = False,
    allow_repeats: Annotated[bool, typer.Option("--allow-repeats", help="One person may vote on all pairs.")] = False,
    placebo: Annotated[int, typer.Option(help="Pairs of the baseline with itself, at most one a prompt.")] = 0,
    seconds: Annotated[int, typer.Option(help="How long a person takes for a vote.")] = planning.SECONDS_PER_VOTE,
    judge: Annotated[
        list[str] | None, typer.Option(help="A judge whose cost is wanted; may be given several times.")
    ] = None,
    in_batches: Annotated[
        bool, typer.Option("--in-batches", help="Judges by the provider's batches: half the price, within a day.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what a launch could find out, what it would miss, and what votes and judges would cost. Launches nothing."""
    prepare()
    wanted = LaunchPlan(
        suite=suite,
        challengers=tuple(challenger),
        baseline=baseline,
        design=Design.ROUND_ROBIN if round_robin else Design.STAR,
        sampling=Sampling(max_new_tokens=max_new_tokens),
        replicates=replicates,
        votes_per_pair=votes,
        allow_repeats=allow_repeats,
        placebo_pairs=placebo,
    )
    with session_scope(write=False) as session:
        judges = [find_judge(session, name) for name in dict.fromkeys(judge or [])]
        found = planning.plan(
            session, wanted, judges=judges, in_batches=in_batches, seconds_per_vote=seconds, now=datetime.now(UTC)
        )
    if as_json:
        print_json(_shown(found))
    else:
        _print(found)


def _shown(found: Planned) -> dict[str, Any]:
    view = found.view
    return {
        "prompts": view.groups[0].prompts,
        "pairs": view.pairs,
        "responses": view.responses,
        "votes": view.votes,
        "votes_per_prompt": view.votes_per_prompt,
        "seconds": view.seconds,
        "warnings": list(view.warnings),
        "groups": [
            {
                "label": group.label,
                "prompts": group.prompts,
                "votes": group.votes,
                "smallest_win_rate": group.smallest,
                "told": group.told,
                "missed": group.missed,
                "chances": [[point.win_rate, point.chance] for point in group.curve],
            }
            for group in view.groups
        ],
        "targets": [
            {
                "win_rate": target.win_rate,
                "chance": target.chance,
                "prompts": target.prompts,
                "votes": target.votes,
                "seconds": target.seconds,
                "prompts_read_once": target.prompts_read_once,
                "votes_read_once": target.votes_read_once,
            }
            for target in view.targets
        ],
        "assumptions": view.assumptions,
        "judges": [
            {
                "judge": one.judge,
                "model": one.model,
                "simulated": one.simulated,
                "in_batches": one.in_batches,
                "pairs": one.cost.pairs,
                "calls": one.cost.calls,
                "expected_micro_dollars": one.cost.expected,
                "worst_micro_dollars": one.cost.worst,
                "price_table": one.cost.table,
            }
            for one in found.costs
        ],
        "lengths": found.lengths,
    }


def _print(found: Planned) -> None:
    view = found.view
    time = f"At {view.seconds_per_vote} seconds each, voting takes people {roughly(view.seconds)} in all."
    say = [f"{view.sentence} {time}", *view.warnings]
    say += [f"{group.told} {group.missed}" for group in view.groups]
    for line in say:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(_needed(view), highlight=False, soft_wrap=True)
    rows = [
        {
            "true win rate": percent(target.win_rate),
            "chance with this plan": percent(target.chance),
            "prompts": target.prompts,
            "votes": target.votes,
            "prompts, read once at the end": target.prompts_read_once,
        }
        for target in view.targets
    ]
    print_rows(rows, as_json=False, empty="")
    console.print(view.assumptions, highlight=False, soft_wrap=True)
    for one in found.costs:
        console.print(_cost(one), highlight=False, soft_wrap=True)
    if found.costs:
        console.print(found.lengths, highlight=False, soft_wrap=True)


def _needed(view: PlanView) -> str:
    votes = "1 vote" if view.votes_per_prompt == 1 else f"{view.votes_per_prompt} votes"
    return f"To tell a true win rate from 50%, 4 times in 5, with {votes} on each prompt:"


def _cost(one: JudgeCost) -> str:
    calls = f"at most {one.cost.calls} calls on {one.cost.pairs} pairs{' in batches' if one.in_batches else ''}"
    who = f"{one.judge} (simulated, so nothing is paid)" if one.simulated else one.judge
    if one.cost.worst is None or one.cost.expected is None:
        return f"{who}: {calls}; the model has no price in {one.cost.table}, so no cap can hold."
    about = f"about {in_words(one.cost.expected)}, at worst {in_words(one.cost.worst)}"
    return f"{who}: {about}, for {calls}, by {one.cost.table}."
