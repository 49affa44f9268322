"""Two checkpoints on the same rows of a file: how far their losses lie apart, and how sure that is.

Perplexity is exp of the mean loss over all tokens, so the ratio of two perplexities is exp of the difference of the
means. Tokens of one row depend on each other and rows differ in length, so the difference is a ratio of sums over rows:

    theta = sum d_i / sum t_i          d_i: difference of the summed losses of row i, t_i: its tokens
    V     = n/(n - 1) · sum (d_i - theta t_i)² / (sum t_i)²          interval = theta ± t(n - 1) √V

(Cochran 1977, Sampling Techniques, section 6.4: the ratio estimator). Measured on the same rows, what is hard in a row
is hard for both and cancels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

MIN_ROWS = 10
"""With fewer, an interval would say almost anything."""


@dataclass(frozen=True)
class PairedLoss:
    """Mean loss minus that of the base, in nats per token, with a 95% interval for rows like these."""

    difference: float
    low: float
    high: float
    rows: int

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Perplexity as a multiple of the base's: the value, and both ends of the interval."""
        return exp(self.difference), exp(self.low), exp(self.high)


def paired_loss(
    tokens: Sequence[int], base: Sequence[float], other: Sequence[float], *, alpha: float = 0.05
) -> PairedLoss | None:
    """How far ``other`` lies above ``base``; right when it is read once.

    Args:
        tokens: of each row, at least 1.
        base: summed loss of each row in nats, of the base.
        other: the same of what is compared with it.
        alpha: how often the interval may miss.

    Returns:
        ``None`` below 10 rows.

    Raises:
        ValueError: the three differ in length.
    """
    t, d = np.asarray(tokens, float), np.asarray(other, float) - np.asarray(base, float)
    if t.shape != d.shape:
        raise ValueError(f"{t.size} rows do not belong to {d.size} losses")
    n = t.size
    if n < MIN_ROWS:
        return None
    theta = float(d.sum() / t.sum())
    error = math.sqrt(n / (n - 1) * float(((d - theta * t) ** 2).sum())) / float(t.sum())
    half = float(-stdtrit(n - 1, alpha / 2)) * error
    return PairedLoss(theta, theta - half, theta + half, n)


def compared(perplexity: float, base: float, paired: PairedLoss | None) -> str:
    """Who is lower, and how sure that is, in a sentence."""
    own, of_base = _shown(perplexity), _shown(base)
    if paired is None:
        return f"Its perplexity is {own}, and that of its base {of_base}. Too few rows in common say how sure that is."
    ratio, low, high = (f"{value:.3g}" for value in paired.ratio)
    how = (
        f"its perplexity is {own}, {ratio} times the {of_base} of its base (95% interval {low} to {high}, for rows "
        f"like these; there are {paired.rows:,})"
    )
    if paired.high < 0:
        return f"Lower than its base: {how}."
    if paired.low > 0:
        return f"Higher than its base: {how}."
    return f"Not told apart from its base: {how}."


def exp(loss: float) -> float:
    """Perplexity of a mean loss in nats; infinite where that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _shown(perplexity: float) -> str:
    return f"{perplexity:,.1f}" if math.isfinite(perplexity) else "more than can be counted"
