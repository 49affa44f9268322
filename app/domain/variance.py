"""Where the noise of verdicts comes from, and what more prompts, seeds or votes would buy.

A verdict is y = μ + prompt + seed within prompt + voter within prompt + the rest. Two verdicts that share exactly the
prompt have the covariance σ²_prompt; the same prompt and seed σ²_prompt + σ²_seed; the same prompt and voter
σ²_prompt + σ²_voter. So each is a mean of products over pairs of verdicts, whatever holes the data have (Searle,
Casella and McCulloch 1992, chapter 5):

    mean of (y_i - ȳ)(y_k - ȳ) over pairs that share exactly ...  -  the same over pairs from different prompts

The last term is 0 but for ȳ being an estimate itself, and takes that bias out. Sums over pairs come from sums over
groups, Σ_i≠k r_i r_k = (Σ r)² - Σ r², so no pair is ever formed and a million verdicts take a second or two. Two or
three voters are judges with ways of their own rather than a draw from many: each is compared with its own mean.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_PROMPTS = 20
MIN_SEEDS = 2
FEW_VOTERS = 3

_AS_GOOD = 1.01
"""A standard error that is so many times as large at most makes no difference."""

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Components:
    """Variances of one verdict by where they come from, none below 0; a win rate of one half without ties has .25.

    ``seed`` or ``voter`` is ``None`` where no two verdicts share just that, as with one vote a pair: then it is
    part of ``residual``.
    """

    prompt: float
    seed: float | None
    voter: float | None
    residual: float

    @property
    def total(self) -> float:
        """The variance of one verdict."""
        return self.prompt + (self.seed or 0.0) + (self.voter or 0.0) + self.residual

    @property
    def icc(self) -> float:
        """The share of it that lies between prompts; 0 where nothing varies."""
        return self.prompt / self.total if self.total > 0 else 0.0


@dataclass(frozen=True, slots=True)
class VarianceCard:
    """``components``, or in ``refused`` a sentence on what is missing for them."""

    components: Components | None
    refused: str


def variance_card(y: ArrayLike, prompts: ArrayLike, seeds: ArrayLike, voters: ArrayLike) -> VarianceCard:
    """Variance components where there is enough to tell them apart: 20 prompts with 2 seeds.

    Arguments as for ``components``.
    """
    numbered = _numbered(prompts)
    pairs = np.unique(_joint(numbered, _numbered(seeds)), return_index=True)[1]
    enough = int((np.bincount(numbered[pairs]) >= MIN_SEEDS).sum()) if numbered.size else 0
    if enough < MIN_PROMPTS:
        return VarianceCard(
            None,
            f"Too early to say where the noise comes from: it needs at least {MIN_PROMPTS} prompts with verdicts on "
            f"{MIN_SEEDS} seeds and has {enough}.",
        )
    return VarianceCard(components(y, prompts, seeds, voters), "")


def components(y: ArrayLike, prompts: ArrayLike, seeds: ArrayLike, voters: ArrayLike) -> Components:
    """Variance components of verdicts, unbalanced as they may be.

    Args:
        y: length n, from the challenger's side: 1, 0, or one half for a tie.
        prompts: length n, what the prompt of each verdict is called.
        seeds: its seed or replicate, which may be called the same on every prompt.
        voters: who gave it.

    Raises:
        ValueError: the lengths differ, there are no two prompts, or no two verdicts on the same prompt differ in both
            their seed and their voter.
    """
    values = np.asarray(y, dtype=np.float64)
    prompt, seed, voter = _numbered(prompts), _numbered(seeds), _numbered(voters)
    if not values.size == prompt.size == seed.size == voter.size:
        raise ValueError("y, prompts, seeds and voters have one entry a verdict each")
    if np.unique(prompt).size < 2:  # noqa: PLR2004 - one prompt says nothing about the variance between prompts
        raise ValueError("variance between prompts needs at least two prompts")
    r = _centred(values, voter)
    if voter.size and voter.max() == 0:
        voter = np.arange(values.size)  # a voter who is the only one has no effect that could be told from the mean
    of_seed, of_voter = _joint(prompt, seed), _joint(prompt, voter)
    by_prompt, by_seed, by_voter = (_Pairs.within(r, groups) for groups in (prompt, of_seed, of_voter))
    by_both = _Pairs.within(r, _joint(of_seed, voter))
    apart = (_Pairs.within(r, np.zeros(r.size, dtype=np.intp)) - by_prompt).mean
    shared = (by_prompt - by_seed - by_voter + by_both).mean
    if apart is None or shared is None:
        raise ValueError("no two verdicts on the same prompt differ in both their seed and their voter")
    between_prompts = shared - apart
    seed_part = _part((by_seed - by_both).mean, shared)
    voter_part = _part((by_voter - by_both).mean, shared)
    whole = float(np.mean(r * r)) - apart
    return Components(
        prompt=max(between_prompts, 0.0),
        seed=seed_part,
        voter=voter_part,
        residual=max(whole - max(between_prompts, 0.0) - (seed_part or 0.0) - (voter_part or 0.0), 0.0),
    )


def standard_error(found: Components, prompts: int, seeds: int = 1, votes: int = 1) -> float:
    """The standard error of a win rate over ``prompts`` x ``seeds`` pairs with ``votes`` votes each.

    sqrt(σ²_prompt/P + σ²_seed/(P S) + σ²_voter/(P V) + σ²_residual/(P S V)), where the V voters of a prompt see all of
    its S seeds.
    """
    return math.sqrt(
        found.prompt / prompts
        + (found.seed or 0.0) / (prompts * seeds)
        + (found.voter or 0.0) / (prompts * votes)
        + found.residual / (prompts * seeds * votes)
    )


def what_to_buy(found: Components, prompts: int, seeds: int, votes: int = 1) -> str:
    """In words: what the same number of verdicts would tell with one seed on as many more prompts.

    Raises ``ValueError`` for fewer than two seeds: there is nothing to trade then.
    """
    if seeds < MIN_SEEDS:
        raise ValueError("prompts are weighed against seeds, of which there must be at least two")
    many, few = prompts * seeds, prompts
    wide, deep = standard_error(found, many, 1, votes), standard_error(found, few, seeds, votes)
    shown_wide, shown_deep = (f"{100 * error:.1f}" for error in (wide, deep))
    figures = (
        f"{many:,} prompts with 1 seed each give a standard error of {shown_wide} points, {few:,} prompts with "
        f"{seeds} seeds each one of {shown_deep} points."
    )
    if deep <= _AS_GOOD * wide or shown_deep == shown_wide:
        return f"On these prompts a seed tells as much as a prompt: {figures}"
    return f"Buy prompts, not seeds: {figures}"


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Ordered pairs of verdicts: the sum of their products, and how many there are."""

    products: float
    count: int

    @classmethod
    def within(cls, r: Floats, groups: Ints) -> "_Pairs":
        sums = np.bincount(groups, weights=r)
        sizes = np.bincount(groups)
        return cls(float(sums @ sums - r @ r), int(sizes @ sizes - r.size))

    def __add__(self, other: "_Pairs") -> "_Pairs":
        return _Pairs(self.products + other.products, self.count + other.count)

    def __sub__(self, other: "_Pairs") -> "_Pairs":
        return _Pairs(self.products - other.products, self.count - other.count)

    @property
    def mean(self) -> float | None:
        return self.products / self.count if self.count else None


def _part(together: float | None, shared: float) -> float | None:
    return None if together is None else max(together - shared, 0.0)


def _centred(values: Floats, voter: Ints) -> Floats:
    """Less the mean; of each voter where they are few."""
    sizes = np.bincount(voter)
    if sizes.size > FEW_VOTERS:
        voter, sizes = np.zeros_like(voter), np.array([voter.size])
    means = np.bincount(voter, weights=values) / sizes
    centred: Floats = values - means[voter]
    return centred


def _numbered(names: ArrayLike) -> Ints:
    return np.unique(np.asarray(names), return_inverse=True)[1]


def _joint(one: Ints, other: Ints) -> Ints:
    """Groups that share both, numbered from 0."""
    if one.size == 0:
        return one
    return _numbered(one.astype(np.int64) * (int(other.max()) + 1) + other)
