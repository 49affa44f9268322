"""Eval batches: the frozen plan, the responses it needs, the pairs they form, and the end of voting."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import BadInputError, ConflictError
from app.domain.names import CANARY, GOLD
from app.domain.pairing import MAX_RESPONSES, matchups, planned_pairs
from app.domain.quality import ExclusionRule
from app.domain.sampling import Sampling, require_in_range
from app.domain.terms import BatchState, CheckpointKind, Design, JobKind, JobState, Queue, Reveal
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Job, Prompt, Suite
from app.queries.batches import control_pairs
from app.queries.lookup import base_of, find_checkpoint, find_suite
from app.queries.seals import plan_seal
from app.services.controls import form_controls
from app.services.events import announce
from app.services.serving import planned_serving
from app.services.slots import lapse

BASE_WORD = "base"
"""In a plan: the bare base of the challengers."""

_PLAN_RANGES = {
    "replicates": (1, 100),
    "votes_per_pair": (1, 100),
    "seed": (0, 2**63 - 1),
    "gold_pairs": (0, 1_000),
    "repeat_pairs": (0, 1_000),
    "placebo_pairs": (0, 1_000),
    "canary_pairs": (0, 1_000),
    "rater_limit": (1, 100_000),
    "vote_limit": (1, 1_000_000),
}
LONGEST_NAME = 120
"""Characters of the name of an eval batch."""


@dataclass(frozen=True)
class LaunchPlan:
    """What an admin launches. ``baseline`` may be the word ``base``: the bare base of the challengers."""

    suite: str
    challengers: tuple[str, ...]
    baseline: str = BASE_WORD
    name: str = ""
    design: Design = Design.STAR
    sampling: Sampling = field(default_factory=Sampling)
    system_prompt: str = ""
    replicates: int = 1
    votes_per_pair: int = 1
    seed: int = 1
    allow_repeats: bool = False
    reveal: Reveal = Reveal.AT_CLOSE
    exclusion: dict[str, float] = field(default_factory=dict)
    rater_limit: int | None = None
    vote_limit: int | None = None
    gold_pairs: int = 0
    repeat_pairs: int = 0
    placebo_pairs: int = 0
    canary_pairs: int = 0
    ask_recognised: bool = False
    server: str = ""
    """Address of a server that writes the responses; empty: this arena does."""
    served_as: Mapping[str, str] = field(default_factory=dict)
    """By checkpoint, or by the word ``base``, what it is called there; one that is missing has the same name."""


@dataclass(frozen=True)
class PlanSize:
    """How much a plan asks for. ``pairs`` without those that check something."""

    prompts: int
    matchups: int
    pairs: int
    responses: int


def launch(session: Session, plan: LaunchPlan, *, secret: bytes, now: datetime) -> EvalBatch:
    """Freeze the plan and queue its generation.

    Raises:
        NotFoundError: suite or checkpoint unknown.
        BadInputError: the plan makes no sense; says which part.
        ConflictError: the name is taken, or a checkpoint failed its effect gate.
    """
    suite, members = resolve(session, plan)
    batch = freeze(session, plan, suite, members, secret=secret, now=now)
    form_controls(session, batch, secret=secret, now=now)
    queue = Queue.GPU if batch.served is None else Queue.IO
    title = f"Generate for {batch.name}"
    batch.job_id = jobs.enqueue(session, JobKind.GENERATE, batch.id, title=title, now=now, queue=queue).id
    session.flush()
    return batch


def resolve(session: Session, plan: LaunchPlan) -> tuple[Suite, list[Checkpoint]]:
    """The suite that a plan names, and its members, the baseline first.

    Raises:
        NotFoundError: suite or checkpoint unknown.
        BadInputError: the plan makes no sense; says which part.
        ConflictError: a checkpoint failed its effect gate.
    """
    _check_numbers(plan)
    suite = find_suite(session, plan.suite)
    members = _members(session, plan)
    _check_controls(session, plan)
    planned_serving(plan.server, plan.served_as, members)
    return suite, members


def sized(session: Session, plan: LaunchPlan, suite: Suite, members: Sequence[Checkpoint]) -> PlanSize:
    """How much a plan for these members asks for.

    Raises:
        BadInputError: the members cannot meet, or too many responses would be needed.
    """
    prompts = session.scalar(select(func.count(Prompt.id)).where(Prompt.suite_id == suite.id)) or 0
    meetings = len(matchups(plan.design, members[0].fingerprint, [c.fingerprint for c in members[1:]]))
    pairs = planned_pairs(prompts, plan.replicates, meetings)
    responses = prompts * plan.replicates * len(members) + 2 * plan.placebo_pairs
    _check_counts(plan, members[0], prompts=prompts, pairs=pairs)
    if responses > MAX_RESPONSES:
        raise BadInputError(f"This plan needs {responses} responses; at most {MAX_RESPONSES} fit one eval batch.")
    return PlanSize(prompts=prompts, matchups=meetings, pairs=pairs, responses=responses)


def freeze(
    session: Session, plan: LaunchPlan, suite: Suite, members: Sequence[Checkpoint], *, secret: bytes, now: datetime
) -> EvalBatch:
    """Store and seal a plan for these members, the baseline first. Nothing is queued.

    Raises:
        BadInputError: the members cannot meet, or too many responses would be needed.
        ConflictError: the name is taken.
    """
    size = sized(session, plan, suite, members)
    serving = planned_serving(plan.server, plan.served_as, members)
    batch = EvalBatch(
        name=_free_name(session, plan.name, suite),
        suite_id=suite.id,
        design=plan.design,
        baseline_id=members[0].id,
        sampling=asdict(plan.sampling),
        system_prompt=plan.system_prompt,
        seed=plan.seed,
        replicates=plan.replicates,
        votes_per_pair=plan.votes_per_pair,
        allow_repeats=plan.allow_repeats,
        exclusion=ExclusionRule.parse(plan.exclusion).as_dict(),
        rater_limit=plan.rater_limit,
        vote_limit=plan.vote_limit,
        gold_pairs=plan.gold_pairs,
        repeat_pairs=plan.repeat_pairs,
        placebo_pairs=plan.placebo_pairs,
        canary_pairs=plan.canary_pairs,
        ask_recognised=plan.ask_recognised,
        reveal=plan.reveal,
        served=serving.as_json() if serving else None,
        state=BatchState.OPEN,
        planned_pairs=size.pairs,
        planned_responses=size.responses,
        created_at=now,
        closed_at=None,
    )
    session.add(batch)
    session.flush()
    session.add_all(
        BatchCheckpoint(
            eval_batch_id=batch.id, checkpoint_id=member.id, position=position, fingerprint=member.fingerprint
        )
        for position, member in enumerate(members)
    )
    announce(session, "pairs", batch.id, now=now)
    session.flush()
    batch.seal = plan_seal(session, batch, secret)
    session.flush()
    return batch


def _check_numbers(plan: LaunchPlan) -> None:
    given = {name: value for name, value in vars(plan).items() if value is not None}
    require_in_range(given, {name: span for name, span in _PLAN_RANGES.items() if name in given})
    _check_exclusion(plan)
    if len(plan.name) > LONGEST_NAME:
        raise BadInputError(f"Nothing was launched: the name may have {LONGEST_NAME} characters at most.")
    if plan.sampling.temperature == 0 and plan.replicates > 1:
        raise BadInputError("Nothing was launched: at temperature 0 every replicate would be the same text.")


def _check_exclusion(plan: LaunchPlan) -> None:
    try:
        rule = ExclusionRule.parse(plan.exclusion)
    except BadInputError as error:
        raise BadInputError(f"Nothing was launched. {error.message}") from error
    looks_at = (
        (rule.gold_min, rule.gold_votes, 2 * plan.gold_pairs, "votes on gold pairs", "gold pairs"),
        (rule.agreement_min, rule.agreement_votes, plan.repeat_pairs, "pairs shown again", "repeats"),
    )
    for share, votes, there, what, ask_for in looks_at:
        if share is not None and there < votes:
            raise BadInputError(
                f"Nothing was launched: the rule for leaving raters out looks at {what} from {votes} on, and the plan "
                f"shows a rater {f'at most {there}' if there else 'none'}. Ask for more {ask_for}, or for a rule that "
                "speaks earlier."
            )


def _check_controls(session: Session, plan: LaunchPlan) -> None:
    for name, wanted, what in ((GOLD, plan.gold_pairs, "gold"), (CANARY, plan.canary_pairs, "canary")):
        there = control_pairs(session, name)
        if wanted > there:
            raise BadInputError(
                f"Nothing was launched: {wanted} {what} pairs were asked for, and {there} are here. "
                "Ask for fewer, or add some with `./arena controls import FILE`."
            )


def _check_counts(plan: LaunchPlan, baseline: Checkpoint, *, prompts: int, pairs: int) -> None:
    """What can only be judged beside the suite and the members."""
    if plan.repeat_pairs > pairs:
        raise BadInputError(
            f"Nothing was launched: {plan.repeat_pairs} pairs cannot be shown again, the plan has {pairs} in all."
        )
    if plan.placebo_pairs > prompts:
        raise BadInputError(
            f"Nothing was launched: {plan.placebo_pairs} placebo pairs need as many prompts, and the suite has "
            f"{prompts}."
        )
    if plan.placebo_pairs and plan.sampling.temperature == 0:
        raise BadInputError(
            "Nothing was launched: at temperature 0 the baseline gives the same text twice, so it cannot be compared "
            "with itself. Choose a temperature above 0, or no placebo pairs."
        )
    if plan.placebo_pairs and baseline.kind is CheckpointKind.EXTERNAL:
        raise BadInputError(
            f"Nothing was launched: of {baseline.name} only responses are here, no weights, so it cannot answer "
            "again for placebo pairs. Leave them out."
        )


def _members(session: Session, plan: LaunchPlan) -> list[Checkpoint]:
    """Baseline first, then the challengers."""
    challengers = [find_checkpoint(session, name) for name in plan.challengers if name]
    if not challengers:
        raise BadInputError("Nothing was launched: choose at least one challenger.")
    given = [] if plan.baseline == BASE_WORD else [find_checkpoint(session, plan.baseline)]
    for member in (*given, *challengers):
        if member.kind is CheckpointKind.EXTERNAL:
            raise BadInputError(
                f"Nothing was launched: of {member.name} only responses are here, no weights, so it cannot answer "
                "anything new. Train the same recipe yourself, or choose another checkpoint."
            )
    baseline = given[0] if given else base_of(session, challengers[0])
    members = [baseline, *challengers]
    for member in members:
        if member.base_model_id != baseline.base_model_id:
            raise BadInputError(
                f"Nothing was launched: {member.name} sits on another base model than {baseline.name}. "
                "Compare checkpoints of one base model."
            )
        if member.kind is CheckpointKind.ADAPTER and not (member.effect or {}).get("passed"):
            reason = (member.effect or {}).get("reason") or "its effect was never measured"
            raise ConflictError(
                f"Nothing was launched: {member.name} failed the effect gate ({reason}), so it would answer "
                "like its base. Train it longer or check the recipe."
            )
    return members


def _free_name(session: Session, wanted: str, suite: Suite) -> str:
    taken = set(session.scalars(select(EvalBatch.name)))
    if wanted:
        if wanted in taken:
            raise ConflictError(f"There is an eval batch {wanted!r} already. Choose another name.")
        return wanted
    number = 1
    while f"{suite.name}-{number}" in taken:
        number += 1
    return f"{suite.name}-{number}"


def close(session: Session, batch: EvalBatch, *, now: datetime) -> None:
    """End voting for good: open ballots lapse, generation stops, everything stored stays.

    Raises:
        ConflictError: it is closed already, or its verdicts are still being read in.
    """
    session.refresh(batch, with_for_update={"key_share": True})  # rows that point to it may still be added
    if batch.state is BatchState.CLOSED:
        raise ConflictError(f"The eval batch {batch.name} is closed already.")
    if batch.state is BatchState.IMPORTING:
        raise ConflictError(
            f"The eval batch {batch.name} takes no votes: it is being imported, and closes when all of it is here. If "
            "that was broken off, give the same `./arena import` again; it goes on where it stopped."
        )
    batch.state = BatchState.CLOSED
    batch.closed_at = now
    lapse(session, batch.id, now=now)
    job = session.get(Job, batch.job_id) if batch.job_id else None
    if job is not None and job.state in (JobState.QUEUED, JobState.RUNNING):
        jobs.request_cancel(session, job.id, now=now)
    announce(session, "verdicts", batch.id, now=now)
    announce(session, "pairs", batch.id, now=now)
