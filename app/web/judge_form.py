"""The form for a judge and the form that asks judges: their fields as a browser sends them."""

import uuid
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from pydantic import BaseModel, Field, field_validator

from app.domain.errors import BadInputError
from app.domain.terms import ProviderKind, SwapMode
from app.providers.calls import Parameters
from app.providers.prices import MICRO

_MOST_DOLLARS = Decimal(1_000_000)


class JudgeForm(BaseModel):
    """A judge as it was filled in. What is typed goes before what is picked from the list."""

    provider: ProviderKind = ProviderKind.ANTHROPIC
    name: str = Field(default="", max_length=400)
    model: str = Field(default="", max_length=400)
    typed_model: str = Field(default="", max_length=400)
    rubric: str = Field(default="general", max_length=200)
    base_url: str = Field(default="", max_length=600)
    max_tokens: int = Parameters.max_tokens
    effort: str = Field(default="", max_length=20)
    temperature: float | None = None
    simulated: bool = False

    @field_validator("temperature", mode="before")
    @classmethod
    def _left_empty(cls, value: object) -> object:
        """A field that is left empty is sent as an empty text."""
        return None if value == "" else value

    @property
    def chosen_model(self) -> str:
        """The model to ask."""
        return self.typed_model.strip() or self.model.strip()

    def parameters(self) -> Parameters:
        """How it is asked; each provider takes its own.

        Raises:
            BadInputError: a value is out of its range.
        """
        ours = self.provider is ProviderKind.ANTHROPIC
        return Parameters(
            max_tokens=self.max_tokens,
            effort=(self.effort or None) if ours else None,
            temperature=None if ours else self.temperature,
        )


class AskForm(BaseModel):
    """Which judges are asked about an eval batch, and how."""

    judges: list[uuid.UUID] = Field(default_factory=list)
    mode: SwapMode = SwapMode.BOTH
    after: uuid.UUID | None = None
    in_batches: bool = False
    cap: str = Field(default="", max_length=40)
    cap_before: str = Field(default="", max_length=40)
    """What the page had put there by itself."""

    @field_validator("after", mode="before")
    @classmethod
    def _nobody(cls, value: object) -> object:
        """The first option of the list."""
        return None if value == "" else value


def micro_dollars(typed: str) -> int | None:
    """An amount in dollars as it was typed, in millionths; ``None`` where nothing was.

    Raises:
        BadInputError: it is no amount, or none that makes sense.
    """
    text = typed.strip().removeprefix("$").replace(",", "")
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 < amount <= _MOST_DOLLARS:
        raise BadInputError(
            f"“{typed.strip()}” is no amount of dollars between 0 and a million; write it like 5 or 0.50. "
            "Nothing was started."
        )
    return int((amount * MICRO).to_integral_value(ROUND_CEILING))
