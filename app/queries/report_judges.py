"""What judges say, for programs: the parts of the report that are theirs, and never in those of people."""

from typing import Any

from app.domain.agreement import OUTCOMES, Agreement
from app.domain.intervals import Interval
from app.domain.length import LengthCard
from app.domain.panel import ac1_of_table, alpha_of_table
from app.queries.cells import Cell
from app.queries.combined_results import CombinedResult
from app.queries.judge_results import PEOPLE, JudgeCard, JudgeCells, JudgeResults


def judges_of_matchups(results: JudgeResults) -> list[dict[str, Any]]:
    """For each matchup, in the order of the results: ``judges``, all together, and ``judge``, each by name."""
    return [
        {
            "judges": _cells(matchup.together),
            "judge": {one.name: {**_cells(one), "length": _length(one), "gap": _gap(one)} for one in matchup.each},
            "combined": _combined(matchup.combined) if matchup.combined else None,
        }
        for matchup in results.matchups
    ]


def judges_of_batch(results: JudgeResults, *, suspect: bool) -> dict[str, Any]:
    """``judges``: how far each can be believed, and ``agreement`` of each two voters; empty if orders are mixed up."""
    if suspect or not results.judges:
        return {"judges": [], "agreement": []}
    compared = [compared_told(row.one, row.other, row.found, row.sentence) for row in results.agreements]
    if results.people.n:
        compared.append(compared_told(PEOPLE, PEOPLE, results.people, results.people_sentence))
    return {"judges": [_card(card, results.pairs) for card in results.cards], "agreement": compared}


def cell_told(cell: Cell) -> dict[str, Any]:
    """One slice; the same shape for people and judges."""
    return {
        "n": cell.n,
        "wins": cell.wins,
        "losses": cell.losses,
        "ties": cell.ties,
        "both_bad": cell.both_bad,
        "prompts": cell.prompts,
        "win_rate": cell.win_rate,
        "live": interval_told(cell.live),
        "fixed": interval_told(cell.fixed),
        "standing": cell.standing.value,
    }


def _cells(cells: JudgeCells) -> dict[str, Any]:
    return {
        "sentence": cells.sentence,
        "simulated": cells.simulated,
        "all": cell_told(cells.whole),
        "domains": {cell.label: cell_told(cell) for cell in cells.domains},
        "categories": {cell.label: cell_told(cell) for cell in cells.categories},
    }


def _combined(combined: CombinedResult) -> dict[str, Any]:
    return {
        "sentence": combined.sentence,
        "all": cell_told(combined.cell),
        "lambda": combined.weight,
        "judged": combined.judged,
        "multiplier": combined.multiplier,
    }


def _length(cells: JudgeCells) -> dict[str, Any]:
    card: LengthCard | None = cells.length
    pull = card.pull if card else None
    return {
        "sentence": cells.length_sentence,
        "longer": card.longer if card else 0,
        "n": card.decisive if card else 0,
        "longer_rate": card.share if card else None,
        "phi": pull.phi if pull else None,
        "phi_interval": interval_told(pull.phi_interval) if pull else None,
        "controlled_win_rate": pull.controlled if pull else None,
        "controlled_interval": interval_told(pull.controlled_interval) if pull else None,
        "refused": card.refused if card else "",
    }


def _gap(cells: JudgeCells) -> dict[str, Any] | None:
    gap = cells.gap
    if gap is None:
        return None
    return {
        "sentence": cells.gap_sentence,
        "n": gap.n,
        "prompts": gap.prompts,
        "differ": gap.differ,
        "judge": gap.one,
        "people": gap.other,
        "gap": gap.gap,
        "se": gap.error,
        "fixed": interval_told(gap.interval),
    }


def _card(card: JudgeCard, pairs: int) -> dict[str, Any]:
    return {
        "judge": card.name,
        "simulated": card.simulated,
        "mode": card.mode.value,
        "pairs": pairs,
        "judged": card.judged,
        "waiting": card.waiting,
        "lost": card.lost,
        "position_bias": {
            "sentence": card.position_sentence,
            "first_rate": card.places.first_rate,
            "consistency": card.swaps.consistency,
            "f": card.swaps.first,
            "s": card.swaps.second,
            "mixed": card.swaps.mixed,
            "n": card.swaps.n,
            "net": card.swaps.net,
            "p": card.swaps.p,
        },
        "unparsed": {
            "sentence": card.unparsed_sentence,
            "replies": card.replies,
            "n": card.unparsed_all,
            "share": card.unparsed_share,
            "reasons": {reason.value: count for reason, count in card.unparsed.items()},
        },
        "failed": card.failed,
        "unknown": card.unknown,
    }


def compared_told(one: str, other: str, found: Agreement, sentence: str) -> dict[str, Any]:
    """How far two voters agree; the same shape for people and judges."""
    return {
        "one": one,
        "other": other,
        "sentence": sentence,
        "n": found.n,
        "raw": found.raw,
        "kappa": found.kappa,
        "alpha": alpha_of_table(found.table),
        "ac1": ac1_of_table(found.table),
        "live": interval_told(found.live),
        "fixed": interval_told(found.fixed),
        "table": {
            row.value: {column.value: count for column, count in zip(OUTCOMES, counts, strict=True)}
            for row, counts in zip(OUTCOMES, found.table, strict=True)
        },
    }


def interval_told(interval: Interval | None) -> list[float] | None:
    """Both ends; ``None`` while it is too early."""
    return list(interval) if interval else None
