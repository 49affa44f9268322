"""The result of an eval batch for programs: a stable, versioned shape, described in the README."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.domain.tally import Tally
from app.queries.results import Cell, Matchup, results_page

SCHEMA = "brie-arena-report/1"


def report(session: Session, batch_id: uuid.UUID, counts: Mapping[uuid.UUID, Tally] | None = None) -> dict[str, Any]:
    """Everything the results page shows. ``counts``: votes by pair that were counted anew, see ``results_page``.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    page = results_page(session, batch_id, counts)
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
        "matchups": [_matchup(matchup) for matchup in page.matchups],
    }


def _matchup(matchup: Matchup) -> dict[str, Any]:
    return {
        "baseline": matchup.first,
        "challenger": matchup.second,
        "sentence": matchup.sentence,
        "raters": {
            "all": _cell(matchup.whole),
            "domains": {cell.label: _cell(cell) for cell in matchup.domains},
            "categories": {cell.label: _cell(cell) for cell in matchup.categories},
            "with_settled": _cell(matchup.with_settled),
        },
        "settled": {
            "wins": matchup.settled.wins,
            "losses": matchup.settled.losses,
            "ties": matchup.settled.ties,
        },
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "n": cell.n,
        "wins": cell.wins,
        "losses": cell.losses,
        "ties": cell.ties,
        "both_bad": cell.both_bad,
        "prompts": cell.prompts,
        "win_rate": cell.win_rate,
        "live": list(cell.live) if cell.live else None,
        "fixed": list(cell.fixed) if cell.fixed else None,
        "standing": cell.standing.value,
    }
