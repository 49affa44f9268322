"""How far voters agree beyond chance: Krippendorff's alpha, Gwet's AC1 and Cohen's kappa, with intervals.

Everything is made from counts, so that a million votes cost no more than the pairs they were cast on.

A panel is a matrix of shape (units, categories): how many voters put unit u (a pair) into category c. Cells may be
missing: units differ in their number of voters, and one with a single voter says nothing about agreement.

    alpha = 1 - D_o / D_e                        (Krippendorff 2018, chapter 12)
    D_o   = 1/n  Σ o_ck δ_ck,      o_ck = Σ_u n_uc (n_uk - [c = k]) / (m_u - 1)      the coincidences of two votes
    D_e   = 1/(n (n - 1))  Σ n_c n_k δ_ck,       n_c = Σ_k o_ck

    AC1   = (p_a - p_e) / (1 - p_e)              (Gwet 2008, 2014)
    p_a   = mean over units with two votes of Σ_c n_uc (n_uc - 1) / (m_u (m_u - 1))
    p_e   = Σ_c π_c (1 - π_c) / (q - 1),         π_c = mean over units of n_uc / m_u

Kappa and alpha collapse where one outcome dominates: 120 agreements in 125 may give a kappa below zero. AC1 does not,
which is why both are shown. Kappa is ``app.domain.agreement.cohens_kappa`` for a table of counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from app.domain.intervals import Interval
from app.domain.resampling import MIN_PROMPTS, Floats, jackknife, sum_by

_SAME = 1e-12
_TWO = 2

Distance = Callable[[Floats, Floats], Floats]
"""From totals of shape (..., q) and values of shape (q,) to the squared distances δ of shape (..., q, q)."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Agreement among any number of voters.

    Figures are ``None`` where they are undefined (no unit with two votes; for alpha also one category alone),
    intervals also below 20 prompts with such a unit and where nobody ever disagreed.
    """

    units: int
    """Units with at least two votes."""
    votes: int
    """Votes on them."""
    raw: float | None
    """How often two voters drawn at random from those of a unit agree, over units."""
    alpha: float | None
    alpha_interval: Interval | None
    ac1: float | None
    ac1_interval: Interval | None


@dataclass(frozen=True, slots=True)
class TwoVoters:
    """Agreement beyond chance of two voters on the same pairs, ``None`` as in ``Panel``."""

    n: int
    kappa: float | None
    kappa_interval: Interval | None
    ac1: float | None
    ac1_interval: Interval | None


def count_matrix(units: ArrayLike, categories: ArrayLike, shape: tuple[int, int]) -> Floats:
    """Votes per unit and category, shape (units, q), from one row a vote.

    ``units`` and ``categories``: whole numbers from 0, one a vote; what is missing has no row.
    """
    flat = np.ravel_multi_index((np.asarray(units, dtype=np.intp), np.asarray(categories, dtype=np.intp)), shape)
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def nominal(totals: Floats, _values: Floats) -> Floats:
    """Categories are equal or not."""
    return 1 - np.eye(totals.shape[-1])


def ordinal(totals: Floats, _values: Floats) -> Floats:
    """Categories in order: as far apart as there are votes between them, half of both ends left out."""
    upto = np.cumsum(totals, axis=-1) - totals / 2
    found: Floats = (upto[..., :, None] - upto[..., None, :]) ** 2
    return found


def interval(_totals: Floats, values: Floats) -> Floats:
    """Categories are numbers: the squared difference."""
    found: Floats = (values[:, None] - values[None, :]) ** 2
    return found


def ratio(_totals: Floats, values: Floats) -> Floats:
    """Categories are amounts with a true zero: ((c - k) / (c + k)) squared."""
    sums = values[:, None] + values[None, :]
    found: Floats = interval(_totals, values) / np.where(sums == 0, 1, sums) ** 2
    return found


def krippendorffs_alpha(counts: ArrayLike, distance: Distance = ordinal, values: ArrayLike = ()) -> float | None:
    """Krippendorff's alpha of a panel.

    Args:
        counts: shape (units, q), votes per unit and category; for ``ordinal`` the categories in their order.
        distance: ``nominal``, ``ordinal``, ``interval``, ``ratio``, or one of your own.
        values: length q, what each category is worth; 0, 1, 2 ... if left out. Only some distances look at it.

    Returns:
        1 for full agreement, 0 for that of chance; ``None`` where votes do not differ at all or none can be compared.
    """
    coincidences = _coincidences(_matrix(counts))
    return _number(_alpha(coincidences.sum(axis=0), distance, _values(values, _matrix(counts))))


def gwets_ac1(counts: ArrayLike) -> float | None:
    """Gwet's AC1 of a panel: ``counts`` of shape (units, q), q at least 2, the whole scale even where it is unused."""
    return _number(_ac1(_shares(_matrix(counts)).sum(axis=0)))


def ac1_of_table(table: ArrayLike) -> float | None:
    """Gwet's AC1 of two voters from a square table of counts: rows by what the one said, columns by the other."""
    return _number(_ac1_of_tables(np.asarray(table, dtype=np.float64).ravel()))


def alpha_of_table(table: ArrayLike, distance: Distance = nominal) -> float | None:
    """Krippendorff's alpha of two voters from the same table; the tie lies between its two sides where order counts."""
    counts = np.asarray(table, dtype=np.float64)
    return _number(_alpha((counts + counts.T).ravel(), distance, np.arange(len(counts), dtype=np.float64)))


def panel(
    prompts: ArrayLike,
    counts: ArrayLike,
    *,
    distance: Distance = ordinal,
    values: ArrayLike = (),
    alpha: float = 0.05,
) -> Panel:
    """Agreement among all who voted, with intervals for prompts like these; right when they are read once.

    Args:
        prompts: length units, the prompt of each unit.
        counts: shape (units, q), votes per unit and category, see ``count_matrix``.
        distance: how far apart two categories are, for alpha.
        values: what each category is worth, see ``krippendorffs_alpha``.
        alpha: how often an interval may miss.

    Raises:
        ValueError: as many prompts as units are needed, two categories, and no negative count.
    """
    matrix = _matrix(counts)
    worth = _values(values, matrix)
    shares, coincidences = sum_by(prompts, _shares(matrix)), sum_by(prompts, _coincidences(matrix))
    compared = shares[:, 0] > 0  # a prompt without a second vote has a part in AC1's shares of votes alone

    def alpha_of(sums: Floats) -> Floats:
        return _alpha(sums, distance, worth)

    votes = matrix.sum(axis=1)
    units = int(shares[:, 0].sum())
    return Panel(
        units=units,
        votes=int(votes[votes >= _TWO].sum()),
        raw=float(shares[:, 1].sum()) / units if units else None,
        alpha=_number(alpha_of(coincidences.sum(axis=0))),
        alpha_interval=jackknife(coincidences[compared], alpha_of, alpha=alpha),
        ac1=_number(_ac1(shares.sum(axis=0))),
        ac1_interval=jackknife(shares, _ac1, alpha=alpha) if compared.sum() >= MIN_PROMPTS else None,
    )


def two_voters(
    prompts: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    *,
    categories: int = 3,
    alpha: float = 0.05,
) -> TwoVoters:
    """Kappa and AC1 of two voters with intervals for prompts like these; right when they are read once.

    Args:
        prompts: length n, the prompt of each pair that both voted on.
        one: length n, the category of each by the one voter: whole numbers from 0.
        other: the same by the other voter.
        categories: how many there are, used or not.
        alpha: how often an interval may miss.

    Raises:
        ValueError: the lengths differ, or a category does not exist.
    """
    cells = np.ravel_multi_index(
        (np.asarray(one, dtype=np.intp), np.asarray(other, dtype=np.intp)), (categories, categories)
    )
    names, places = np.unique(np.asarray(prompts), return_inverse=True)
    if places.shape != cells.shape:
        raise ValueError(f"{places.size} prompts do not belong to {cells.size} pairs")
    size = categories**2
    tables = np.bincount(places * size + cells, minlength=names.size * size).reshape(-1, size).astype(np.float64)
    total = tables.sum(axis=0)
    return TwoVoters(
        n=cells.size,
        kappa=_number(_kappa(total)),
        kappa_interval=jackknife(tables, _kappa, alpha=alpha),
        ac1=_number(_ac1_of_tables(total)),
        ac1_interval=jackknife(tables, _ac1_of_tables, alpha=alpha),
    )


def _matrix(counts: ArrayLike) -> Floats:
    matrix = np.asarray(counts, dtype=np.float64)
    if matrix.ndim != _TWO or matrix.shape[1] < _TWO or not (matrix >= 0).all():
        raise ValueError(f"counts have a row for each unit, two or more categories and no negative number: {counts!r}")
    return matrix


def _values(values: ArrayLike, matrix: Floats) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    if given.size == 0:
        return np.arange(matrix.shape[1], dtype=np.float64)
    if given.shape != matrix.shape[1:]:
        raise ValueError(f"{given.size} values do not belong to {matrix.shape[1]} categories")
    return given


def _coincidences(matrix: Floats) -> Floats:
    """The o_ck of each unit, flat: shape (units, q * q); zeros where there is no second vote."""
    votes = matrix.sum(axis=1)
    couples = matrix[:, :, None] * matrix[:, None, :]
    diagonal = np.arange(matrix.shape[1])
    couples[:, diagonal, diagonal] -= matrix
    couples /= np.where(votes < _TWO, np.inf, votes - 1)[:, None, None]
    found: Floats = couples.reshape(len(matrix), -1)
    return found


def _shares(matrix: Floats) -> Floats:
    """Of each unit: is there a second vote, how far its votes agree, is there a vote, and the shares of its votes."""
    votes = matrix.sum(axis=1)
    compared = votes >= _TWO
    agreed = (matrix * (matrix - 1)).sum(axis=1) / np.where(compared, votes * (votes - 1), np.inf)
    return np.column_stack([compared, agreed, votes > 0, matrix / np.maximum(votes, 1)[:, None]])


def _alpha(sums: Floats, distance: Distance, values: Floats) -> Floats:
    size = values.size
    coincidences = sums.reshape(*sums.shape[:-1], size, size)
    totals = coincidences.sum(axis=-1)
    n = totals.sum(axis=-1)
    apart = distance(totals, values)
    observed = (coincidences * apart).sum(axis=(-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * apart).sum(axis=(-2, -1))
    found: Floats = 1 - (n - 1) * _over(observed, expected)
    return found


def _ac1(sums: Floats) -> Floats:
    observed = _over(sums[..., 1], sums[..., 0])
    shares = _over(sums[..., 3:], sums[..., 2, None])
    return _beyond(observed, _ac1_chance(shares))


def _ac1_of_tables(sums: Floats) -> Floats:
    observed, rows, columns = _margins(sums)
    return _beyond(observed, _ac1_chance((rows + columns) / 2))


def _kappa(sums: Floats) -> Floats:
    observed, rows, columns = _margins(sums)
    return _beyond(observed, (rows * columns).sum(axis=-1))


def _margins(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Of flat tables: the share on the diagonal, and the shares of rows and of columns."""
    size = round(sums.shape[-1] ** 0.5)
    tables = _over(sums, sums.sum(axis=-1, keepdims=True)).reshape(*sums.shape[:-1], size, size)
    observed: Floats = np.trace(tables, axis1=-2, axis2=-1)
    return observed, tables.sum(axis=-1), tables.sum(axis=-2)


def _ac1_chance(shares: Floats) -> Floats:
    found: Floats = (shares * (1 - shares)).sum(axis=-1) / (shares.shape[-1] - 1)
    return found


def _beyond(observed: Floats, expected: Floats) -> Floats:
    return _over(observed - expected, 1 - expected)


def _over(part: Floats, whole: Floats) -> Floats:
    """The quotient, NaN where there is nothing to divide by."""
    small = np.abs(whole) < _SAME
    found: Floats = np.where(small, np.nan, part / np.where(small, 1, whole))
    return found


def _number(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None
