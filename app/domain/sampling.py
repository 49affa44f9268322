"""How responses are sampled: part of a frozen plan, and of what identifies a response."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import BadInputError


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled; the defaults suit small chat models."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    max_new_tokens: int = 320
    repetition_penalty: float = 1.1

    def __post_init__(self) -> None:
        """Refuse what no sampler can do.

        Raises:
            BadInputError: names the setting and its range.
        """
        require_in_range(vars(self), _SAMPLING_RANGES)


_SAMPLING_RANGES = {
    "temperature": (0, 5),
    "top_p": (0.01, 1),
    "top_k": (0, 100_000),
    "max_new_tokens": (1, 8192),
    "repetition_penalty": (0.5, 2),
}


def require_in_range(values: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check numbers against their ranges, ends included.

    Raises:
        BadInputError: names the first that lies outside, with its range.
    """
    for name, (low, high) in ranges.items():
        if not low <= values[name] <= high:  # also refuses NaN
            word = name.replace("_", " ")
            raise BadInputError(f"Nothing was launched: {word} must lie between {low} and {high}, not {values[name]}.")
