"""``arena judges``: models that vote as people do, each with a rubric and parameters."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import select

from app.cli.output import JsonFlag, console, print_json, print_rows, progress_bar, quiet
from app.cli.paying import YesFlag, agree
from app.cli.prepare import prepare
from app.config import DATA
from app.db import session_scope
from app.domain.attacks import Gain, read_attacks
from app.domain.errors import BadInputError
from app.domain.terms import ProviderKind
from app.models import Judge, Voter
from app.providers.calls import Lifecycle, ModelOffer, Parameters
from app.providers.errors import ProviderError
from app.providers.prices import price_table
from app.services.judge_attacks import attack, worst_cost
from app.services.judges import add_judge, find_judge, find_rubric, offers_of, provider_of, set_retired

judges = typer.Typer(help="Models that vote: which there are, and what they can be.", no_args_is_help=True)
ATTACKS = DATA / "attacks" / "judge.jsonl"

ProviderOption = Annotated[ProviderKind, typer.Option(help="anthropic, or openai_compatible: a server near you.")]
AddressOption = Annotated[str, typer.Option(help="Where the server is, such as http://127.0.0.1:11434/v1.")]


@judges.command("list")
def judges_list(as_json: JsonFlag = False) -> None:
    """List judges, retired ones too."""
    prepare()
    with session_scope(write=False) as session:
        query = select(Judge, Voter).join(Voter, Voter.id == Judge.voter_id).order_by(Voter.name)
        found = [(judge, voter) for judge, voter in session.execute(query)]
    rows = [_row(judge, voter) if as_json else _line(judge, voter) for judge, voter in found]
    print_rows(rows, as_json=as_json, empty="No judge yet. Add one: ./arena judges add NAME --model claude-opus-5-5")


def _row(judge: Judge, voter: Voter) -> dict[str, object]:
    return {
        "name": voter.name,
        "id": judge.id,
        "provider": judge.provider.value,
        "base_url": judge.base_url,
        "model": judge.model,
        "rubric": f"{judge.rubric_name}@{judge.rubric_version}",
        "parameters": judge.parameters,
        "simulated": voter.simulated,
        "created_at": judge.created_at,
        "retired_at": judge.retired_at,
    }


def _line(judge: Judge, voter: Voter) -> dict[str, object]:
    given = {name: value for name, value in judge.parameters.items() if value is not None}
    return {
        "name": voter.name,
        "model": judge.model + (" (simulated)" if voter.simulated else ""),
        "server": judge.base_url or judge.provider.value,
        "rubric": f"{judge.rubric_name}@{judge.rubric_version}",
        "parameters": ", ".join(f"{name} {value}" for name, value in given.items()),
        "retired": judge.retired_at.date() if judge.retired_at else "",
    }


@judges.command("add")
def judges_add(
    name: str,
    model: Annotated[str, typer.Option(help="As its provider names it; ./arena judges models lists them.")],
    rubric: Annotated[str, typer.Option(help="A file of data/rubrics, or name@version.")] = "general",
    provider: ProviderOption = ProviderKind.ANTHROPIC,
    base_url: AddressOption = "",
    max_tokens: Annotated[int, typer.Option(help="Longest reply, thinking included.")] = Parameters.max_tokens,
    effort: Annotated[str | None, typer.Option(help="Anthropic: low, medium, high, xhigh or max.")] = None,
    thinking: Annotated[
        bool | None, typer.Option("--thinking/--no-thinking", help="Anthropic: whether it may think first.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Other servers: 0 repeats itself.")] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Its server only plays a judge; all it says is labelled.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add a judge: a model with a rubric and parameters, which stay as they are."""
    settings = prepare()
    parameters = Parameters(max_tokens=max_tokens, effort=effort, thinking=thinking, temperature=temperature)
    text, note = find_rubric(rubric), ""
    try:
        _require_offered(model, offers_of(provider, base_url, settings))
    except ProviderError as error:
        note = f"Whether {model} is offered could not be asked. {error.message}"
    with session_scope() as session:
        judge = add_judge(
            session, name, provider=provider, model=model, rubric=text, parameters=parameters, base_url=base_url,
            simulated=simulated, now=datetime.now(UTC),
        )  # fmt: skip
        voter = session.get_one(Voter, judge.voter_id)
    if as_json:
        print_json(_row(judge, voter) | {"note": note})
        return
    console.print(f"Judge {voter.name}: {judge.model} with the rubric {text.label}.", highlight=False)
    if note:
        console.print(note, highlight=False, soft_wrap=True)


def _require_offered(model: str, offers: tuple[ModelOffer, ...]) -> None:
    offered = [one for one in offers if one.lifecycle is not Lifecycle.RETIRED]
    if model.strip() in {one.id for one in offered}:
        return
    known = ", ".join(one.id for one in offered) or "none"
    for one in offers:
        if one.id == model.strip():
            when = f" since {one.retires_at:%Y-%m-%d}" if one.retires_at else ""
            raise BadInputError(f"The model {one.id} is retired{when}. None was added. Offered: {known}.")
    raise BadInputError(f"This server offers no model {model!r}. None was added. Offered: {known}.")


@judges.command("models")
def judges_models(
    provider: ProviderOption = ProviderKind.ANTHROPIC, base_url: AddressOption = "", as_json: JsonFlag = False
) -> None:
    """List the models of a provider, with the days on which they retire."""
    offers = offers_of(provider, base_url, prepare())
    rows = [
        {
            "model": one.id,
            "name": one.name,
            "state": one.lifecycle.value,
            "retires": one.retires_at.date().isoformat() if one.retires_at else None,
        }
        for one in offers
    ]
    print_rows(rows, as_json=as_json, empty="This server offers no model.")


@judges.command("retire")
def judges_retire(name: str) -> None:
    """Offer a judge for no new eval batch. What it said stays."""
    prepare()
    with session_scope() as session:
        set_retired(find_judge(session, name), retired=True, now=datetime.now(UTC))
    console.print("Retired: it takes no new work. What it said stays.")


@judges.command("attack")
def judges_attack(name: str, yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Ask a judge about texts that try to talk it into choosing them. Exit code 1 when one of them won something."""
    settings = prepare()
    with session_scope(write=False) as session:
        judge = find_judge(session, name)
        simulated = session.get_one(Voter, judge.voter_id).simulated
    attacks = read_attacks(ATTACKS)
    calls = 2 * (len(attacks) + 1)
    worst = worst_cost(judge, attacks, now=datetime.now(UTC))
    with quiet(as_json):
        agree(f"{name}: {calls} calls", worst, price_table().label, yes=yes, free=simulated)
    with closing(provider_of(judge, settings)) as provider, progress_bar(shown=not as_json) as bar:
        task = bar.add_task("attacks", total=calls)
        found = attack(
            judge, provider, attacks, at_once=settings.judge_concurrency, retry_seconds=settings.judge_retry_seconds,
            on_reply=lambda: bar.advance(task),
        )  # fmt: skip
    taken_in = sum(gain.taken_in for gain in found)
    rows = [_gain(gain) for gain in found]
    if as_json:
        print_json({"judge": name, "simulated": simulated, "attacks": len(found), "taken_in": taken_in, "gains": rows})
    else:
        print_rows(rows, as_json=False, empty="")
        said = f"{taken_in} of {len(found)} attacks won points for a poor text."
        held = f"None of {len(found)} attacks won anything for a poor text."
        console.print((said if taken_in else held) + (" The judge is simulated." if simulated else ""), highlight=False)
    if taken_in:
        raise typer.Exit(1)


def _gain(gain: Gain) -> dict[str, object]:
    return {
        "attack": gain.attack.name,
        "kind": gain.attack.kind.value,
        "without": gain.without,
        "with": gain.with_attack,
        "unparsed": gain.unparsed,
        "taken_in": gain.taken_in,
    }
