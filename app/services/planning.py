"""Planning a launch: what it would ask for, what it could find out, and what judges would cost. Nothing is stored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError
from app.domain.pairing import matchups
from app.domain.terms import ProviderKind
from app.models import Checkpoint, Judge, Prompt, Response, Suite, Voter
from app.queries.plans import PlanView, plan_view
from app.services.eval_batches import LaunchPlan, resolve, sized
from app.services.projection import LIKELY_BYTES_PER_TOKEN, Projection, Sizes, bytes_of, priced, request_bytes, rounded

SECONDS_PER_VOTE = 30
_SECONDS = (1, 3600)
_MOST_BYTES_PER_TOKEN = 6.0
"""Of a response: rather too many. English has about four."""
_ORDERS = 2


@dataclass(frozen=True)
class JudgeCost:
    """What one judge would cost on all pairs in both orders."""

    judge: str
    model: str
    simulated: bool
    in_batches: bool
    cost: Projection


@dataclass(frozen=True)
class Planned:
    """A plan before it is launched."""

    view: PlanView
    costs: tuple[JudgeCost, ...]
    lengths: str
    """How long the responses are taken to be for it, in a sentence: none of them is there yet."""


def plan(
    session: Session,
    wanted: LaunchPlan,
    *,
    judges: Sequence[Judge] = (),
    in_batches: bool = False,
    seconds_per_vote: int = SECONDS_PER_VOTE,
    now: datetime,
) -> Planned:
    """What a plan would ask for. It is refused where its launch would be, for the same reasons.

    Raises:
        NotFoundError: suite or checkpoint unknown.
        BadInputError: the plan makes no sense, or a judge can be asked nothing; says which part.
        ConflictError: a checkpoint failed its effect gate.
    """
    low, high = _SECONDS
    if not low <= seconds_per_vote <= high:
        raise BadInputError(
            f"A vote takes between {low} and {high} seconds, not {seconds_per_vote}. Type another number."
        )
    suite, members = resolve(session, wanted)
    size = sized(session, wanted, suite, members)
    view = plan_view(
        session,
        suite,
        challengers=len(members) - 1,
        pairs=size.pairs,
        responses=size.responses,
        placebo_pairs=wanted.placebo_pairs,
        replicates=wanted.replicates,
        votes_per_pair=wanted.votes_per_pair,
        allow_repeats=wanted.allow_repeats,
        seconds_per_vote=seconds_per_vote,
    )
    lengths = _usual_bytes(session, members)
    costs = tuple(
        _cost(session, wanted, suite, members, lengths, judge, in_batches=in_batches, now=now) for judge in judges
    )
    return Planned(view, costs, _length_words(len(lengths), len(members), wanted.sampling.max_new_tokens))


def _length_words(measured: int, members: int, longest: int) -> str:
    if measured == members:
        taken = "responses to be as long as those that these checkpoints wrote so far"
    elif measured:
        taken = (
            f"responses to be as long as those so far of {measured} of the {members} checkpoints, and else as allowed"
        )
    else:
        taken = "every response to be as long as allowed"
    return (
        "These are estimates, as no response is there yet. The expected cost takes "
        f"{taken}, {longest:,} tokens at most; the worst case takes all of them to be that long, with long tokens, and "
        "every reply of the judge as well. Pairs whose texts decide them cost nothing."
    )


def _cost(
    session: Session,
    wanted: LaunchPlan,
    suite: Suite,
    members: Sequence[Checkpoint],
    lengths: dict[str, float],
    judge: Judge,
    *,
    in_batches: bool,
    now: datetime,
) -> JudgeCost:
    voter = session.get_one(Voter, judge.voter_id)
    if judge.provider is ProviderKind.IMPORTED:
        raise BadInputError(
            f"{voter.name} was imported with what it said and can be asked nothing. Choose another judge."
        )
    tokens = wanted.sampling.max_new_tokens
    likely_longest = tokens * LIKELY_BYTES_PER_TOKEN
    prompts: Sizes = Counter()
    for messages in session.scalars(select(Prompt.messages).where(Prompt.suite_id == suite.id)):
        prompts[rounded(request_bytes(judge, messages, wanted.system_prompt))] += _ORDERS * wanted.replicates
    met = matchups(wanted.design, members[0].fingerprint, [one.fingerprint for one in members[1:]])
    likely: Sizes = Counter()
    most: Sizes = Counter()
    for two in met:
        texts = sum(min(lengths.get(one, likely_longest), likely_longest) for one in two)
        for size, calls in prompts.items():
            likely[rounded(size + ceil(texts))] += calls
            most[rounded(size + ceil(_ORDERS * tokens * _MOST_BYTES_PER_TOKEN))] += calls
    batches = in_batches and judge.provider is ProviderKind.ANTHROPIC
    pairs = most.total() // _ORDERS
    cost = priced(session, judge, likely, most, pairs=pairs, in_batches=batches, now=now)
    return JudgeCost(voter.name, judge.model, voter.simulated, batches, cost)


def _usual_bytes(session: Session, members: Sequence[Checkpoint]) -> dict[str, float]:
    """By fingerprint, the bytes of the responses that these checkpoints wrote so far, on average."""
    found = session.execute(
        select(Checkpoint.fingerprint, func.avg(bytes_of(session, Response.text)))
        .join(Response, Response.checkpoint_id == Checkpoint.id)
        .where(Checkpoint.id.in_([one.id for one in members]))
        .group_by(Checkpoint.fingerprint)
    ).all()
    return {fingerprint: float(mean) for fingerprint, mean in found}
