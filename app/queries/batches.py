"""Eval batches: lists, progress and the launch form."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.names import CANARY, GOLD, SAMPLE
from app.domain.quality import ExclusionRule
from app.domain.sampling import Sampling
from app.domain.serving import ServerTold, Serving
from app.domain.terms import BallotState, BatchState, CheckpointKind, Design, PairKind, Reveal, VoterKind
from app.models import Ballot, BatchCheckpoint, Checkpoint, EvalBatch, Pair, Prompt, Response, Suite, Tally, Voter
from app.queries.checkpoints import CheckpointRow, checkpoint_rows
from app.queries.jobs import JobView, job_views
from app.queries.leaks import flagged_pairs
from app.queries.paging import FIRST_PAGE, Wanted, Window, find
from app.queries.suites import SuiteRow, suite_rows


@dataclass(frozen=True)
class BatchRow:
    """One eval batch with how far it is.

    ``pairs`` are formed so far, of ``planned_pairs``; ``settled`` of them need no voter. ``votes`` counts
    standing verdicts of people, ``votes_wanted`` what the plan asks of the pairs that need a voter.
    ``simulated_votes`` of them are nobody's: they were made to learn the tool.
    """

    id: uuid.UUID
    name: str
    suite: str
    suite_id: uuid.UUID
    design: Design
    baseline: str
    challengers: tuple[str, ...]
    state: BatchState
    votes_per_pair: int
    planned_pairs: int
    planned_responses: int
    pairs: int
    settled: int
    votes: int
    simulated_votes: int
    job: JobView | None
    created_at: datetime
    closed_at: datetime | None
    imported_from: str
    """The format that its verdicts were imported from; empty: they are cast here."""
    server: str
    """Host and port of the server that writes its responses; empty: this arena does."""
    server_warnings: tuple[str, ...]
    """What looked odd about that server when it was last asked."""

    @property
    def votes_wanted(self) -> int:
        """Verdicts the plan asks for, given what is settled so far."""
        return (self.planned_pairs - self.settled) * self.votes_per_pair

    @property
    def is_sample(self) -> bool:
        """Whether it shipped with the arena: real responses whose weights are not here."""
        return self.baseline.startswith(f"{SAMPLE}/")

    @property
    def votable(self) -> bool:
        """Whether there is a pair to vote on."""
        return self.state is BatchState.OPEN and self.pairs > self.settled

    @property
    def generating(self) -> bool:
        """Whether responses are still being written."""
        return self.job is not None and self.job.unfinished


@dataclass(frozen=True)
class BatchesPage:
    """A page of the eval batches, newest first."""

    rows: tuple[BatchRow, ...]
    window: Window


@dataclass(frozen=True)
class BatchPage:
    """One eval batch: its frozen plan and its progress."""

    batch: BatchRow
    sampling: tuple[tuple[str, str], ...]
    replicates: int
    seed: int
    allow_repeats: bool
    reveal: Reveal
    responses: int
    """Stored responses of the plan; reused ones count at once."""
    open_ballots: int
    flagged: int
    """Pairs that voters are shown in which a text says who wrote it."""
    checkpoints: tuple[CheckpointRow, ...]
    warnings: tuple[str, ...]
    checks: tuple[tuple[str, str], ...]
    """What checks raters and arena, and the limits of votes, as (what, how); all of it is frozen."""
    check_pairs: int
    """Placebo, gold and canary pairs that are there."""
    planned_check_pairs: int
    served: tuple[tuple[str, str], ...]
    """Who writes the responses in place of this arena, as (what, which)."""

    @property
    def repeatable(self) -> bool:
        """Whether it is over, and its checkpoints could answer again with other seeds."""
        over = self.batch.state is BatchState.CLOSED or self.batch.votes >= self.batch.votes_wanted > 0
        weights = all(one.kind is not CheckpointKind.EXTERNAL for one in self.checkpoints)
        return over and not self.batch.generating and weights and dict(self.sampling)["temperature"] not in ("0", "0.0")


@dataclass(frozen=True)
class LaunchPage:
    """What the launch form offers; checkpoints without weights cannot answer and are not among them."""

    suites: tuple[SuiteRow, ...]
    checkpoints: tuple[CheckpointRow, ...]
    defaults: Sampling
    gold: int
    """Gold pairs that can be drawn from."""
    canary: int
    servers: tuple[str, ...]
    """Addresses of servers that wrote responses before, newest first."""


NEWEST_FIRST = (EvalBatch.created_at.desc(), EvalBatch.name)


def batch_rows(session: Session, *conditions: Any) -> tuple[BatchRow, ...]:
    """Eval batches newest first, in a fixed number of queries."""
    query = (
        select(EvalBatch, Suite.name, Suite.version)
        .join(Suite, Suite.id == EvalBatch.suite_id)
        .where(*conditions)
        .order_by(*NEWEST_FIRST)
    )
    found = session.execute(query).all()
    ids = [batch.id for batch, *_ in found]
    names = _checkpoint_names(session, ids)
    pairs = {batch_id: (there, settled) for batch_id, there, settled in session.execute(_pairs(ids))}
    votes = standing_votes(session, ids)
    simulated = simulated_votes(session, ids)
    jobs = job_views(session, (batch.job_id for batch, *_ in found))
    return tuple(
        BatchRow(
            id=batch.id,
            name=batch.name,
            suite=f"{suite} v{version}",
            suite_id=batch.suite_id,
            design=batch.design,
            baseline=names[batch.id][0],
            challengers=tuple(names[batch.id][1:]),
            state=batch.state,
            votes_per_pair=batch.votes_per_pair,
            planned_pairs=batch.planned_pairs,
            planned_responses=batch.planned_responses,
            pairs=pairs.get(batch.id, (0, 0))[0],
            settled=pairs.get(batch.id, (0, 0))[1],
            votes=votes.get(batch.id, 0),
            simulated_votes=simulated.get(batch.id, 0),
            job=jobs.get(batch.job_id) if batch.job_id else None,
            created_at=batch.created_at,
            closed_at=batch.closed_at,
            imported_from="" if batch.imported_from is None else str(batch.imported_from["format"]),
            server=serving.place if (serving := Serving.of(batch.served)) else "",
            server_warnings=ServerTold.of(batch.server_told).warnings,
        )
        for batch, suite, version in found
    )


def standing_votes(session: Session, ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Votes of people on main pairs by batch, from the tallies."""
    query = (
        select(Tally.eval_batch_id, func.sum(Tally.first + Tally.second + Tally.tie))
        .join(Pair, Pair.id == Tally.pair_id)
        .where(Tally.eval_batch_id.in_(ids), Tally.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
        .group_by(Tally.eval_batch_id)
    )
    return _counts(session, query)


def simulated_votes(session: Session, ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Votes of simulated raters by batch. Who they are is asked first: their votes are few, and have an index."""
    nobody = session.scalars(select(Voter.id).where(Voter.simulated, Voter.kind == VoterKind.RATER)).all()
    if not nobody:
        return {}
    query = (
        select(Ballot.eval_batch_id, func.count(Ballot.id))
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(Ballot.eval_batch_id.in_(ids), Ballot.voter_id.in_(nobody), Ballot.state == BallotState.VOTED)
        .where(Pair.kind == PairKind.MAIN, Ballot.is_repeat.is_(False))
        .group_by(Ballot.eval_batch_id)
    )
    return _counts(session, query)


def _pairs(ids: list[uuid.UUID]) -> Select[uuid.UUID, int, int]:
    """How many pairs there are by batch, and how many of them the texts alone have decided."""
    return (
        select(Pair.eval_batch_id, func.count(Pair.id), func.count(Pair.settled))
        .where(Pair.eval_batch_id.in_(ids), Pair.kind == PairKind.MAIN)
        .group_by(Pair.eval_batch_id)
    )


def _counts(session: Session, query: Select[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    return {key: int(count) for key, count in session.execute(query)}


def _checkpoint_names(session: Session, ids: list[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    """Names by batch, the baseline first."""
    query = (
        select(BatchCheckpoint.eval_batch_id, Checkpoint.name)
        .join(Checkpoint, Checkpoint.id == BatchCheckpoint.checkpoint_id)
        .where(BatchCheckpoint.eval_batch_id.in_(ids))
        .order_by(BatchCheckpoint.eval_batch_id, BatchCheckpoint.position)
    )
    names: dict[uuid.UUID, list[str]] = {}
    for batch_id, name in session.execute(query):
        names.setdefault(batch_id, []).append(name)
    return names


def batches_page(session: Session, wanted: Wanted = FIRST_PAGE) -> BatchesPage:
    """The list of eval batches."""
    ids, window = find(session, wanted, EvalBatch, NEWEST_FIRST, EvalBatch.name)
    return BatchesPage(batch_rows(session, EvalBatch.id.in_(ids)), window)


def batch_page(session: Session, batch_id: uuid.UUID) -> BatchPage:
    """One eval batch.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    rows = batch_rows(session, EvalBatch.id == batch_id)
    stored = session.get(EvalBatch, batch_id)
    if not rows or stored is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    members = select(BatchCheckpoint.checkpoint_id).where(BatchCheckpoint.eval_batch_id == batch_id)
    checkpoints = checkpoint_rows(session, Checkpoint.id.in_(members))
    open_ballots = session.scalar(
        select(func.count(Ballot.id)).where(
            Ballot.eval_batch_id == batch_id,
            Ballot.state == BallotState.OPEN,
            Ballot.voter_kind == VoterKind.RATER,
        )
    )
    check_pairs = session.scalar(
        select(func.count(Pair.id)).where(Pair.eval_batch_id == batch_id, Pair.kind != PairKind.MAIN)
    )
    return BatchPage(
        batch=rows[0],
        sampling=tuple((key, str(value)) for key, value in stored.sampling.items()),
        replicates=stored.replicates,
        seed=stored.seed,
        allow_repeats=stored.allow_repeats,
        reveal=stored.reveal,
        responses=_responses(session, rows[0], batch_id),
        open_ballots=open_ballots or 0,
        flagged=flagged_pairs(session, batch_id),
        checkpoints=checkpoints,
        warnings=tuple(early_checkpoint_warnings(checkpoints)),
        checks=_checks(stored),
        check_pairs=check_pairs or 0,
        planned_check_pairs=stored.placebo_pairs + stored.gold_pairs + stored.canary_pairs,
        served=_served(stored, checkpoints),
    )


def _served(batch: EvalBatch, checkpoints: tuple[CheckpointRow, ...]) -> tuple[tuple[str, str], ...]:
    serving = Serving.of(batch.served)
    if serving is None:
        return ()
    known = {one.fingerprint: one.name for one in checkpoints}
    rows = [("Written by", serving.url), ("Its software", ServerTold.of(batch.server_told).software)]
    rows += [(f"{known[of]} is called there", model) for of, model in serving.models.items() if of in known]
    return tuple(row for row in rows if row[1])


def _checks(batch: EvalBatch) -> tuple[tuple[str, str], ...]:
    rule = ExclusionRule.parse(batch.exclusion)
    return (
        ("Canaries", f"{batch.canary_pairs} pairs, by a script" if batch.canary_pairs else "none"),
        ("Placebo", f"{batch.placebo_pairs} pairs of the baseline with itself" if batch.placebo_pairs else "none"),
        ("Gold pairs", f"{batch.gold_pairs}, in both orders for each rater" if batch.gold_pairs else "none"),
        ("Repeats", f"{batch.repeat_pairs} pairs again for each rater" if batch.repeat_pairs else "none"),
        ("Raters are left out", "never" if rule.is_empty else rule.sentence),
        ("Asked if they recognised one", "after each vote" if batch.ask_recognised else "no"),
        ("Votes by one rater", f"at most {batch.rater_limit:,}" if batch.rater_limit else "no limit"),
        ("Votes in all", f"at most {batch.vote_limit:,}" if batch.vote_limit else "no limit but the plan"),
        ("Who wrote what is told", "when voting closes" if batch.reveal is Reveal.AT_CLOSE else "never"),
    )


def _responses(session: Session, row: BatchRow, batch_id: uuid.UUID) -> int:
    """Responses that are there: the job counts them while it runs, the pairs afterwards."""
    if row.job is not None and row.job.total:
        return min(row.job.done, row.planned_responses)
    generated = (Pair.eval_batch_id == batch_id, Pair.kind.in_((PairKind.MAIN, PairKind.PLACEBO)))
    firsts = select(Pair.first_response_id).where(*generated)
    seconds = select(Pair.second_response_id).where(*generated)
    used = firsts.union(seconds).subquery()
    return session.scalar(select(func.count(Response.id)).where(Response.id.in_(select(used)))) or 0


def early_checkpoint_warnings(checkpoints: tuple[CheckpointRow, ...]) -> list[str]:
    """A sentence for each checkpoint that is not the last of its run."""
    return [
        f"{row.name} is not the last checkpoint of its run. If you meant the finished adapter, launch with that one."
        for row in checkpoints
        if row.kind is CheckpointKind.ADAPTER and not row.is_last
    ]


def launch_page(session: Session) -> LaunchPage:
    """What the launch form offers."""
    able = checkpoint_rows(session, Checkpoint.kind != CheckpointKind.EXTERNAL)
    return LaunchPage(
        suites=suite_rows(session),
        checkpoints=able,
        defaults=Sampling(),
        gold=control_pairs(session, GOLD),
        canary=control_pairs(session, CANARY),
        servers=_servers(session),
    )


def _servers(session: Session) -> tuple[str, ...]:
    query = select(EvalBatch.served).order_by(EvalBatch.created_at.desc())
    return tuple(dict.fromkeys(serving.url for one in session.scalars(query) if (serving := Serving.of(one))))


def control_pairs(session: Session, name: str) -> int:
    """How many pairs the newest version of a suite of control pairs holds; 0 where none was imported."""
    newest = select(Suite.id).where(Suite.name == name).order_by(Suite.version.desc()).limit(1).scalar_subquery()
    return session.scalar(select(func.count(Prompt.id)).where(Prompt.suite_id == newest)) or 0
