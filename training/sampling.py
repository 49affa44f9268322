"""Choosing the next token, with noise that depends on nothing but (seed, step, token).

Sampling by the Gumbel trick: the token with the largest logit / temperature + Gumbel noise is a sample of the
softmax. The noise comes from a counter-based hash in place of a random generator with a state, so that a
response is the same alone, in any batch, in any order, and after a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.errors import TrainingError

GOLDEN = 0x9E3779B97F4A7C15
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Constants of SplitMix64 (Steele, Lea, Flood 2014), whose finaliser mixes the counter."""
SHIFTS = (30, 27, 31)
WORD = (1 << 64) - 1
NUCLEUS_GUESSES = (256, 4096)
"""Candidates looked at for top-p before the whole vocabulary is sorted, which takes ten times as long."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Every setting that shapes a response; nothing is taken from a model's own generation config."""

    temperature: float = 1.0
    """0 = greedy."""
    top_p: float = 1.0
    """Smallest set of tokens whose probabilities reach this; 1 = all."""
    top_k: int = 0
    """Only the k most likely tokens; 0 = all."""
    max_new_tokens: int = 256
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens already seen (prompt included) and multiplies negative ones."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            TrainingError: a value out of range.
        """
        good = (
            0 <= self.temperature <= 10  # noqa: PLR2004
            and 0 < self.top_p <= 1
            and self.top_k >= 0
            and self.max_new_tokens >= 1
            and self.repetition_penalty > 0
        )
        if not good:
            raise TrainingError(f"these sampling settings cannot be used: {self}")


def choose(logits: torch.Tensor, sampling: Sampling, seeds: Sequence[int], steps: Sequence[int]) -> torch.Tensor:
    """Next token of each row, shape [rows].

    Args:
        logits: [rows, vocabulary], any float dtype.
        sampling: the settings; penalties have been applied to ``logits`` before.
        seeds: seed of each row's response.
        steps: index of the token that is being chosen, per row.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        return logits.argmax(-1)
    scores, tokens = _candidates(logits / sampling.temperature, sampling)
    keys = torch.tensor([_key(*pair) for pair in zip(seeds, steps, strict=True)], device=logits.device)
    best = (scores + gumbel(keys, tokens)).argmax(-1, keepdim=True)
    return tokens.gather(-1, best)[:, 0]


def gumbel(keys: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Gumbel noise, float32 [rows, candidates], for int64 keys [rows] and token ids [rows, candidates]."""
    bits = _mix(keys[:, None] + tokens * _signed(GOLDEN))
    # 63 random bits as a number in (0, 1), precise near 0, where the largest noise comes from.
    uniform = ((bits >> 1) & (WORD >> 1)).to(torch.float32) * 2.0**-63 + 2.0**-64
    return -torch.log(-torch.log1p(-uniform))


def penalise(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Logits [rows, vocabulary] with the tokens marked in ``seen`` (bool, same shape) made less likely."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _candidates(scores: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and token ids [rows, candidates] that top-k and top-p leave; others score -inf or are absent."""
    vocabulary = scores.shape[-1]
    if sampling.top_k == 0 and sampling.top_p == 1:
        return scores, torch.arange(vocabulary, device=scores.device).expand_as(scores)
    kept = min(sampling.top_k or vocabulary, vocabulary)
    if sampling.top_p == 1:
        return torch.topk(scores, kept)
    if sampling.top_k:
        values, tokens = torch.topk(scores, kept)
        return _nucleus(values, torch.logsumexp(values, -1, keepdim=True), sampling.top_p), tokens
    total = torch.logsumexp(scores, -1, keepdim=True)
    for guess in NUCLEUS_GUESSES:
        values, tokens = torch.topk(scores, min(guess, vocabulary))
        kept_values = _nucleus(values, total, sampling.top_p)
        if bool(kept_values[:, -1].isneginf().all()):  # each nucleus ends inside the guess
            return kept_values, tokens
    values, tokens = torch.sort(scores, descending=True, stable=True)
    return _nucleus(values, total, sampling.top_p), tokens


def _nucleus(values: torch.Tensor, total: torch.Tensor, top_p: float) -> torch.Tensor:
    """Descending ``values`` with everything behind the nucleus set to -inf; the first always stays.

    Tokens that tie with the last one inside stay too (bfloat16 logits tie often): which of them comes first is
    up to the sorting, and must not matter.
    """
    probabilities = (values - total).exp()
    inside = probabilities.cumsum(-1) - probabilities < top_p
    inside[:, 0] = True
    smallest = values.masked_fill(~inside, torch.inf).amin(-1, keepdim=True)
    return values.masked_fill(values < smallest, -torch.inf)


def _key(seed: int, step: int) -> int:
    """One 64-bit key for (seed, step), as a signed number."""
    mixed = _mix_number((seed + GOLDEN) & WORD)
    return _signed(_mix_number((mixed + step * GOLDEN) & WORD))


def _mix_number(value: int) -> int:
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, 1), strict=True):
        value = ((value ^ (value >> shift)) * multiplier) & WORD
    return value


def _mix(value: torch.Tensor) -> torch.Tensor:
    """The same mixing on int64 tensors, whose products wrap and whose shifts must be made unsigned."""
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, 1), strict=True):
        value = (value ^ ((value >> shift) & (WORD >> shift))) * _signed(multiplier)
    return value


def _signed(value: int) -> int:
    value &= WORD
    return value - (1 << 64) if value >> 63 else value
