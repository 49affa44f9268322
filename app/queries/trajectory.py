"""How the win rate moved over the training of one run: its checkpoints that met the same baseline on the same suite."""

import json
import uuid
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.contrast import Contrast, Side, contrast, sentence
from app.domain.tally import ClusterSums, PromptCounts, Tally, summarise
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Run
from app.queries.batches import BatchRow, batch_rows
from app.queries.cells import SIMULATED, Cell, cell_of
from app.queries.controls import checks_of
from app.queries.prompt_counts import prompt_counts
from app.queries.quality import excluded_of
from app.queries.results import ResultsPage

_TWO = 2

Counted = dict[Hashable, Tally]
"""Votes by the place of their prompt in the suite."""


@dataclass(frozen=True)
class Step:
    """One checkpoint of the run, after so many training steps."""

    step: int
    checkpoint: str
    checkpoint_id: uuid.UUID
    cell: Cell


@dataclass(frozen=True)
class Trajectory:
    """At least two checkpoints with votes, against one baseline, on one suite, sampled in one way."""

    suite: str
    baseline: str
    sentence: str
    """The last against the first."""
    found: Contrast
    """The same in figures."""
    steps: tuple[Step, ...]
    batches: tuple[BatchRow, ...]
    """Where the votes were given."""


def trajectories(session: Session, run_id: uuid.UUID) -> tuple[Trajectory, ...]:
    """One for each baseline, suite and sampling; votes of re-runs are counted together."""
    query = select(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.step.is_not(None))
    members = {one.id: one for one in session.scalars(query.order_by(Checkpoint.step))}
    batches = session.scalars(
        select(EvalBatch)
        .join(BatchCheckpoint, BatchCheckpoint.eval_batch_id == EvalBatch.id)
        .where(BatchCheckpoint.checkpoint_id.in_(members), BatchCheckpoint.checkpoint_id != EvalBatch.baseline_id)
        .order_by(EvalBatch.created_at, EvalBatch.id)
    ).unique()
    alike: dict[tuple[object, ...], list[EvalBatch]] = defaultdict(list)
    for batch in batches:
        how = json.dumps(batch.sampling, sort_keys=True)
        alike[batch.suite_id, batch.baseline_id, how, batch.system_prompt].append(batch)
    found = (_trajectory(session, members, same) for same in alike.values())
    return tuple(one for one in found if one is not None)


def _trajectory(session: Session, members: Mapping[uuid.UUID, Checkpoint], same: list[EvalBatch]) -> Trajectory | None:
    counted: dict[uuid.UUID, Counted] = defaultdict(lambda: defaultdict(lambda: Tally(0, 0, 0)))
    shown = [batch for batch in same if not checks_of(session, batch).suspect]
    for batch in shown:
        for matchup in prompt_counts(session, batch, excluded_of(session, batch).counts):
            if matchup.first_id == batch.baseline_id and matchup.second_id in members:
                _add(counted[matchup.second_id], matchup.prompts.tolist(), matchup.votes)
    voted = [(one, counted[one.id]) for one in members.values() if counted.get(one.id)]
    if len(voted) < _TWO:
        return None
    return _line(voted, batch_rows(session, EvalBatch.id.in_([batch.id for batch in shown])))


def of_results(session: Session, page: ResultsPage) -> dict[str, Trajectory]:
    """By run, the line through its checkpoints that are challengers of this eval batch, from its votes alone.

    A closed eval batch keeps it, whatever is voted on elsewhere.
    """
    ids = [matchup.second_id for matchup in page.matchups if matchup.first == page.batch.baseline]
    query = (
        select(Checkpoint, Run.name)
        .join(Run, Run.id == Checkpoint.run_id)
        .where(Checkpoint.id.in_(ids), Checkpoint.step.is_not(None))
        .order_by(Run.name, Checkpoint.step)
    )
    counts = {one.second_id: one.counts for one in page.matchups if one.first == page.batch.baseline}
    of_run: dict[str, list[tuple[Checkpoint, Counted]]] = defaultdict(list)
    for member, run in session.execute(query):
        tallies: Counted = defaultdict(lambda: Tally(0, 0, 0))
        _add(tallies, counts[member.id].prompts.tolist(), counts[member.id].votes)
        if tallies:
            of_run[run].append((member, tallies))
    lines = {run: _line(voted, (page.batch,)) for run, voted in of_run.items() if len(voted) >= _TWO}
    return {run: line for run, line in lines.items() if line is not None}


def _line(voted: Sequence[tuple[Checkpoint, Counted]], rows: Sequence[BatchRow]) -> Trajectory | None:
    steps = [(one.step or 0, one, tallies) for one, tallies in voted]
    (early, _, before), (late, _, after) = steps[0], steps[-1]
    found = contrast(Side.from_tallies(after), Side.from_tallies(before))
    if found is None:
        return None
    told = sentence(found, found.live, f"at step {late:,}", f"at step {early:,}")
    label = SIMULATED if any(row.simulated_votes for row in rows) else ""
    return Trajectory(
        suite=rows[0].suite,
        baseline=rows[0].baseline,
        sentence=label + told,
        found=found,
        steps=tuple(Step(step, one.name, one.id, _cell(step, tallies)) for step, one, tallies in steps),
        batches=tuple(row for row in rows if row.votes),
    )


def _add(tallies: Counted, prompts: list[int], votes: PromptCounts) -> None:
    for prompt, *counts in zip(prompts, votes.wins, votes.losses, votes.ties, votes.both_bad, strict=True):
        if any(counts):
            tallies[prompt] += Tally(*(int(count) for count in counts))


def _cell(step: int, tallies: Counted) -> Cell:
    summary = summarise(ClusterSums.from_tallies(tallies.values()))
    return cell_of(f"step {step:,}", sum(tallies.values(), Tally(0, 0, 0)), summary)
