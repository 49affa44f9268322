"""The result of an eval batch for programs: a stable, versioned shape, described in the README."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.quality import Marks, Sheet
from app.domain.tally import Tally
from app.models import EvalBatch, Voter
from app.queries.blindness import Answers, Apart, Blindness, blindness
from app.queries.contrasts import contrasts
from app.queries.controls import Canaries, Gold, Placebo, checks_of
from app.queries.judge_results import JudgeResults, judge_results
from app.queries.judged import Heard
from app.queries.outlook import outlooks
from app.queries.provenance import provenance
from app.queries.quality import Excluded, sheets_of
from app.queries.ranking import ranking
from app.queries.report_judges import cell_told, judges_of_batch, judges_of_matchups
from app.queries.report_statistics import (
    differences,
    over_votes,
    panel_told,
    ranking_told,
    raters_told,
    slices_told,
    trajectories_told,
    variance,
)
from app.queries.results import Matchup, ResultsPage, results_page
from app.queries.slices import slices
from app.queries.statistics import Statistics, points_up_to_now, rater_names, statistics
from app.queries.trajectory import of_results

SCHEMA = "brie-arena-report/1"


def report(
    session: Session,
    batch_id: uuid.UUID,
    counts: Mapping[uuid.UUID, Tally] | None = None,
    *,
    answers: Mapping[uuid.UUID, Answers] | None = None,
    flags: Mapping[uuid.UUID, bool | None] | None = None,
    told: Heard | None = None,
) -> dict[str, Any]:
    """Everything the results page shows. Where canaries found an order mixed up, there is no matchup to quote.

    ``counts``: votes by pair that were counted anew, see ``results_page``; ``answers`` and ``flags``: what was said
    about recognition and what the texts say, looked at anew, see ``blindness``; ``told``: what judges said, read anew.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    page = results_page(session, batch_id, counts)
    checks = checks_of(session, session.get_one(EvalBatch, batch_id))
    judges = judge_results(session, page, told)
    found = statistics(session, page)
    told_by_judges = judges_of_batch(judges, suspect=checks.suspect)
    if not checks.suspect:
        told_by_judges["agreement"] += raters_told(found, rater_names(session, found))
    batch = page.batch
    return {
        "schema": SCHEMA,
        "batch": {
            "id": str(batch.id),
            "name": batch.name,
            "suite": batch.suite,
            "state": batch.state.value,
            "baseline": batch.baseline,
            "challengers": list(batch.challengers),
            "planned_pairs": batch.planned_pairs,
            "pairs": batch.pairs,
            "settled_pairs": batch.settled,
            "votes": batch.votes,
            "simulated_votes": batch.simulated_votes,
            "votes_wanted": batch.votes_wanted,
        },
        "mapping_suspect": checks.suspect,
        "matchups": [] if checks.suspect else _matchups(session, page, judges, found),
        "contrasts": [] if checks.suspect else differences(contrasts(session, page)),
        "trajectories": [] if checks.suspect else trajectories_told(of_results(session, page)),
        "slices": None if checks.suspect else slices_told(slices(page)),
        "ranking": None if checks.suspect else ranking_told(ranking(page)),
        "panel": None if checks.suspect else panel_told(found),
        **told_by_judges,
        "excluded": _excluded(page.excluded),
        "quality": _quality(session, session.get_one(EvalBatch, batch_id), page.excluded),
        "placebo": _placebo(checks.placebo) if checks.placebo else None,
        "canaries": _canaries(checks.canaries) if checks.canaries else None,
        "gold": _gold(checks.gold) if checks.gold else None,
        "leaks": _leaks(
            blindness(session, page, answers=answers, flags=flags),
            suspect=checks.suspect,
        ),
        "provenance": provenance(session, session.get_one(EvalBatch, batch_id)),
    }


def _matchups(session: Session, page: ResultsPage, judges: JudgeResults, found: Statistics) -> list[dict[str, Any]]:
    """By people; where judges were asked, by them beside it."""
    by_judges = judges_of_matchups(judges) or [{"judges": None, "judge": {}, "combined": None}] * len(page.matchups)
    return [
        {
            **_matchup(one),
            "over_votes": over_votes(points_up_to_now(found, one)),
            "variance": variance(found.of(one)),
            "outlook": {"needed": outlook.needed, "plan": outlook.plan, "assumptions": outlook.assumptions},
            **told,
        }
        for one, outlook, told in zip(page.matchups, outlooks(session, page, found), by_judges, strict=True)
    ]


def _matchup(matchup: Matchup) -> dict[str, Any]:
    return {
        "baseline": matchup.first,
        "challenger": matchup.second,
        "sentence": matchup.sentence,
        "fixed_sentence": matchup.fixed_sentence,
        "raters": {
            "all": cell_told(matchup.whole),
            "domains": {cell.label: cell_told(cell) for cell in matchup.domains},
            "categories": {cell.label: cell_told(cell) for cell in matchup.categories},
            "with_settled": cell_told(matchup.with_settled),
            "with_everybody": cell_told(matchup.with_everybody) if matchup.with_everybody else None,
        },
        "settled": {
            "wins": matchup.settled.wins,
            "losses": matchup.settled.losses,
            "ties": matchup.settled.ties,
        },
    }


def _excluded(excluded: Excluded) -> dict[str, Any]:
    return {
        "rule": excluded.rule.as_dict(),
        "sentence": excluded.rule.sentence,
        "raters": excluded.raters,
        "votes": excluded.votes,
    }


def _quality(session: Session, batch: EvalBatch, excluded: Excluded) -> list[dict[str, Any]]:
    sheets = sheets_of(session, batch)
    names = session.execute(select(Voter.id, Voter.name, Voter.simulated).where(Voter.id.in_(sheets)))
    return [
        {
            "voter": voter.name,
            "simulated": voter.simulated,
            **_sheet(sheets[voter.id]),
            "excluded": list(excluded.reasons.get(voter.id, ())),
        }
        for voter in sorted(names, key=lambda voter: (voter.name, str(voter.id)))
    ]


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {
        "votes": sheet.votes,
        "gold": {"a": _marks(sheet.gold_as_a), "b": _marks(sheet.gold_as_b)},
        "repeats": _marks(sheet.agreement),
        "sides": {"a": sheet.side_a, "b": sheet.side_b, "none": sheet.no_side},
        "timed": sheet.timed,
        "fast": sheet.fast,
        "median_seconds": sheet.median_seconds,
    }


def _marks(marks: Marks) -> dict[str, int]:
    return {"right": marks.right, "wrong": marks.wrong, "tie": marks.ties}


def _placebo(placebo: Placebo) -> dict[str, Any]:
    return {
        "sentence": placebo.sentence,
        "planned_pairs": placebo.planned,
        "pairs": placebo.pairs,
        "behaves": placebo.behaves,
        "all": cell_told(placebo.cell),
        "sides": [
            {"voter": side.voter, "a": side.a, "n": side.n, "interval": list(side.interval)} for side in placebo.sides
        ],
    }


def _canaries(canaries: Canaries) -> dict[str, Any]:
    return {
        "sentence": canaries.sentence,
        "pairs": canaries.pairs,
        "right": canaries.right,
        "wrong": canaries.wrong,
        "runs": [
            {
                "at": run.at.isoformat(),
                "version": run.version,
                "wanted": run.wanted,
                "right": run.right,
                "wrong": run.wrong,
                "note": run.note,
            }
            for run in canaries.runs
        ],
    }


def _gold(gold: Gold) -> dict[str, Any]:
    return {
        "sentence": gold.sentence,
        "pairs": gold.pairs,
        "right": gold.right,
        "wrong": gold.wrong,
        "tie": gold.tie,
        "orders": {row.order.value: {"right": row.right, "wrong": row.wrong, "tie": row.tie} for row in gold.orders},
    }


def _leaks(found: Blindness, *, suspect: bool) -> dict[str, Any]:
    matchups: tuple[Apart, ...] = () if suspect else found.matchups
    return {
        "sentence": found.flagged_sentence,
        "shown_pairs": found.shown,
        "flagged_pairs": found.flagged,
        "unchecked_pairs": found.unchecked,
        "matchups": [
            {
                "baseline": one.first,
                "challenger": one.second,
                "all": cell_told(one.whole),
                "without_flagged": cell_told(one.unflagged or one.whole),
            }
            for one in matchups
        ],
        "recognised": {
            "sentence": found.recognised_sentence,
            "asked": found.asked,
            "answered": found.answered,
            "yes": found.yes,
            "without": [
                {"baseline": one.first, "challenger": one.second, "all": cell_told(one.unrecognised or one.whole)}
                for one in matchups
            ],
        },
    }
