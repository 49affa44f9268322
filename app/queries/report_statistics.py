"""The part of the report that is about the statistics beside win rates, for programs."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.judge_words import agreement_words
from app.domain.trend import Point
from app.domain.variance import VarianceCard
from app.queries.contrasts import Difference
from app.queries.ranking import Ranking
from app.queries.report_judges import cell_told, compared_told, interval_told
from app.queries.slices import Slices
from app.queries.statistics import OfMatchup, Statistics
from app.queries.trajectory import Trajectory


def over_votes(points: Sequence[Point]) -> list[dict[str, Any]]:
    """How a win rate moved."""
    return [{"votes": point.votes, "win_rate": point.win_rate, "live": interval_told(point.live)} for point in points]


def variance(found: OfMatchup | None) -> dict[str, Any] | None:
    """Where the noise of one matchup comes from; ``None`` before the first vote."""
    if found is None:
        return None
    card: VarianceCard = found.variance
    parts = card.components
    return {
        "prompt": parts.prompt if parts else None,
        "seed": parts.seed if parts else None,
        "voter": parts.voter if parts else None,
        "residual": parts.residual if parts else None,
        "icc": parts.icc if parts else None,
        "sentence": found.advice or card.refused,
    }


def differences(found: Sequence[Difference]) -> list[dict[str, Any]]:
    """Each question with its own interval."""
    return [
        {
            "one": one.one,
            "other": one.other,
            "sentence": one.sentence,
            "gap": one.found.gap,
            "shared_prompts": one.found.shared,
            "live": interval_told(one.found.live),
            "fixed": interval_told(one.found.fixed),
            "fisher_p": one.found.fisher,
        }
        for one in found
    ]


def trajectories_told(found: Mapping[str, Trajectory]) -> list[dict[str, Any]]:
    """For each run, the win rate of its checkpoints against the baseline by training step."""
    return [
        {
            "run": run,
            "baseline": one.baseline,
            "sentence": one.sentence,
            "gap": one.found.gap,
            "live": interval_told(one.found.live),
            "fixed": interval_told(one.found.fixed),
            "steps": [{"step": step.step, "checkpoint": step.checkpoint, **cell_told(step.cell)} for step in one.steps],
        }
        for run, one in found.items()
    ]


def slices_told(found: Slices) -> dict[str, Any]:
    """Domains and categories looked at together: live intervals by Bonferroni, p-values by Holm."""
    return {
        "n": len(found.rows),
        "sentence": found.sentence,
        "rows": [
            {
                "baseline": row.baseline,
                "challenger": row.challenger,
                "slice": row.label,
                "live": interval_told(row.live),
                "holm_p": row.holm,
            }
            for row in found.rows
        ],
    }


def ranking_told(found: Ranking | None) -> dict[str, Any] | None:
    """Bradley-Terry strengths in log odds, strongest first."""
    if found is None:
        return None
    return {
        "connected": found.connected,
        "checkpoints": [
            {
                "checkpoint": one.name,
                "strength": one.strength,
                "se": one.error,
                "fixed": interval_told(one.interval),
                "ranks": [one.best, one.worst],
                "component": one.component,
            }
            for one in found.checkpoints
        ],
    }


def panel_told(found: Statistics) -> dict[str, Any] | None:
    """All raters as a panel; ``alpha`` takes the three outcomes as names, ``alpha_ordinal`` as an order."""
    panel = found.panel
    if panel is None:
        return None
    return {
        "units": panel.units,
        "votes": panel.votes,
        "raw": panel.raw,
        "alpha": panel.alpha,
        "alpha_fixed": interval_told(panel.alpha_interval),
        "alpha_ordinal": found.alpha_ordinal,
        "ac1": panel.ac1,
        "ac1_fixed": interval_told(panel.ac1_interval),
    }


def raters_told(found: Statistics, names: Mapping[uuid.UUID, str]) -> list[dict[str, Any]]:
    """Each two raters on the pairs that both voted on."""
    return [
        {
            **compared_told(
                names[row.one],
                names[row.other],
                row.agreed,
                agreement_words(names[row.one], names[row.other], row.agreed),
            ),
            "kappa_fixed": interval_told(row.found.kappa_interval),
            "ac1_fixed": interval_told(row.found.ac1_interval),
        }
        for row in found.raters
    ]
