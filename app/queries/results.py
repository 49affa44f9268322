"""Results: from tallies to win rates with their intervals. Grows with pairs, not with verdicts."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.intervals import Interval, fixed, live, too_early
from app.domain.pairing import settled_outcome
from app.domain.tally import ClusterSums, Summary, Tally, summarise
from app.domain.terms import Domain, Outcome, PairKind, VoterKind
from app.domain.words import Standing, headline, verdict
from app.models import Checkpoint, EvalBatch, Pair, Prompt
from app.models import Tally as StoredTally
from app.queries.batches import BatchRow, batch_rows
from app.queries.quality import Excluded, excluded_of

DOMAIN_WORDS = {Domain.IN_DOMAIN: "in-domain", Domain.OUT_OF_DOMAIN: "out-of-domain"}
_NOTHING = Tally(0, 0, 0)
SIMULATED = "With simulated votes: "
"""Before every sentence that such votes went into, so that none can be quoted without it."""


@dataclass(frozen=True)
class Cell:
    """One slice of a matchup. Intervals and rate are ``None`` while it is too early to say."""

    label: str
    n: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    prompts: int
    win_rate: float | None
    live: Interval | None
    fixed: Interval | None
    standing: Standing


@dataclass(frozen=True)
class Matchup:
    """One challenger (``second``) against what it meets (``first``), whole and by slice."""

    first: str
    second: str
    second_id: uuid.UUID
    sentence: str
    fixed_sentence: str
    """The same for a finished report, with the fixed interval."""
    whole: Cell
    domains: tuple[Cell, ...]
    categories: tuple[Cell, ...]
    settled: Tally
    """Pairs decided by their texts alone; outside n."""
    with_settled: Cell
    with_everybody: Cell | None
    """With the raters whom the rule of the plan leaves out; ``None`` while it leaves out nobody."""


@dataclass(frozen=True)
class PairTally:
    """The votes on one pair from the side of ``second``."""

    pair_id: uuid.UUID
    prompt_id: uuid.UUID
    domain: Domain
    category: str
    tally: Tally
    settled: Tally
    flagged: bool | None
    """Whether a text says who wrote it; ``None``: from before texts were looked at."""
    left_out: Tally = _NOTHING
    """What raters said whom the rule leaves out; not in ``tally``."""


@dataclass(frozen=True)
class ResultsPage:
    """The result of one eval batch so far, from the votes of people."""

    batch: BatchRow
    matchups: tuple[Matchup, ...]
    excluded: Excluded
    repeats_allowed: bool
    """Whether one rater may have read the same baseline text in several pairs."""
    pairs: tuple[tuple[PairTally, ...], ...]
    """What each of the matchups was made from."""


def results_page(session: Session, batch_id: uuid.UUID, counts: Mapping[uuid.UUID, Tally] | None = None) -> ResultsPage:
    """The results of one eval batch, from the stored tallies or from the votes of people counted anew by pair.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    rows = batch_rows(session, EvalBatch.id == batch_id)
    if not rows:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    batch = session.get_one(EvalBatch, batch_id)
    excluded = excluded_of(session, batch)
    found: dict[tuple[uuid.UUID, uuid.UUID], list[PairTally]] = defaultdict(list)
    for pair, everybody in pair_tallies(session, batch_id, PairKind.MAIN, VoterKind.RATER, counts):
        left_out = excluded.counts.get(pair.id, _NOTHING)
        kept = replace(everybody, tally=everybody.tally - left_out, left_out=left_out)
        found[pair.first_id, pair.second_id].append(kept)
    names = dict(session.execute(select(Checkpoint.id, Checkpoint.name)).all())
    position = {name: place for place, name in enumerate((rows[0].baseline, *rows[0].challengers))}
    label = SIMULATED if rows[0].simulated_votes else ""
    made = [
        (_matchup(names[first], names[second], second, pairs, label), tuple(pairs))
        for (first, second), pairs in found.items()
    ]
    made.sort(key=lambda one: (position.get(one[0].first, 0), position.get(one[0].second, 0)))
    matchups, of_each = (tuple(part) for part in zip(*made, strict=True)) if made else ((), ())
    return ResultsPage(rows[0], matchups, excluded, batch.allow_repeats, of_each)


def pair_tallies(
    session: Session,
    batch_id: uuid.UUID,
    kind: PairKind,
    voter_kind: VoterKind,
    counts: Mapping[uuid.UUID, Tally] | None = None,
) -> list[tuple[Pair, PairTally]]:
    """Pairs of one kind with the votes of one kind of voter: what is published and what the checks read.

    ``counts``: votes by pair that were counted anew, instead of the stored tallies.
    """
    query = (
        select(Pair, Prompt.domain, Prompt.category, StoredTally)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(
            StoredTally,
            (StoredTally.pair_id == Pair.id) & (StoredTally.voter_kind == voter_kind),
            isouter=True,
        )
        .where(Pair.eval_batch_id == batch_id, Pair.kind == kind)
        .order_by(Prompt.position, Pair.replicate)
    )
    found = []
    for pair, domain, category, stored in session.execute(query):
        tally = of_second(stored) if counts is None else counts.get(pair.id, _NOTHING)
        settled, flagged = _settled(pair), pair.self_identifies
        found.append((pair, PairTally(pair.id, pair.prompt_id, domain, category, tally, settled, flagged)))
    return found


def of_second(stored: StoredTally | None) -> Tally:
    """A stored tally from the challenger's side: ``second`` is the challenger."""
    if stored is None:
        return _NOTHING
    return Tally(wins=stored.second, losses=stored.first, ties=stored.tie, both_bad=stored.both_bad)


def _settled(pair: Pair) -> Tally:
    if pair.settled is None:
        return _NOTHING
    outcome = settled_outcome(pair.settled)
    return Tally(
        wins=int(outcome is Outcome.SECOND),
        losses=int(outcome is Outcome.FIRST),
        ties=int(outcome is Outcome.TIE),
    )


def _matchup(first: str, second: str, second_id: uuid.UUID, pairs: list[PairTally], label: str) -> Matchup:
    whole = cell("all prompts", pairs)
    present = [domain for domain in Domain if any(pair.domain is domain for pair in pairs)]
    categories = list(dict.fromkeys(pair.category for pair in pairs))
    tally, summary = pool(pairs)
    where = DOMAIN_WORDS[present[0]] if len(present) == 1 else None
    said = second, first, tally, summary
    return Matchup(
        first=first,
        second=second,
        second_id=second_id,
        sentence=label + headline(*said, live(summary) if summary else None, where),
        fixed_sentence=label + headline(*said, fixed(summary) if summary else None, where, final=True),
        whole=whole,
        domains=tuple(cell(DOMAIN_WORDS[d], [p for p in pairs if p.domain is d]) for d in present),
        categories=tuple(cell(c.replace("_", " "), [p for p in pairs if p.category == c]) for c in categories),
        settled=reduce(add, (pair.settled for pair in pairs), _NOTHING),
        with_settled=cell("with settled pairs", pairs, lambda pair: pair.tally + pair.settled),
        with_everybody=cell("with everybody", pairs, lambda pair: pair.tally + pair.left_out)
        if any(pair.left_out.n for pair in pairs)
        else None,
    )


def pool(
    pairs: Iterable[PairTally], of: Callable[[PairTally], Tally] = lambda pair: pair.tally
) -> tuple[Tally, Summary | None]:
    """All verdicts of the pairs, and their summary clustered by prompt."""
    by_prompt: dict[uuid.UUID, Tally] = defaultdict(lambda: _NOTHING)
    for pair in pairs:
        by_prompt[pair.prompt_id] += of(pair)
    summary = summarise(ClusterSums.from_tallies(by_prompt.values()))
    return reduce(add, by_prompt.values(), _NOTHING), summary


def cell(label: str, pairs: list[PairTally], of: Callable[[PairTally], Tally] = lambda pair: pair.tally) -> Cell:
    """One slice with its rate and both intervals."""
    tally, summary = pool(pairs, of)
    early = summary is None or too_early(summary)
    shown = None if summary is None or early else live(summary)
    return Cell(
        label=label,
        n=tally.n,
        wins=tally.wins,
        losses=tally.losses,
        ties=tally.ties,
        both_bad=tally.both_bad,
        prompts=summary.prompts if summary else 0,
        win_rate=summary.p if summary else None,
        live=shown,
        fixed=None if summary is None or early else fixed(summary),
        standing=verdict(summary, shown),
    )
