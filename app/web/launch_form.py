"""The launch form: its fields as a browser sends them, the plan that they make, and what it offers at first."""

import uuid
from dataclasses import fields
from typing import Any

from pydantic import BaseModel, Field, model_validator

from app.domain.quality import RULE_PARTS
from app.domain.sampling import Sampling
from app.domain.serving import read_names
from app.domain.terms import CheckpointKind, Reveal
from app.queries.batches import LaunchPage
from app.services.eval_batches import BASE_WORD, LaunchPlan
from app.services.planning import SECONDS_PER_VOTE

_SUITE = "brie-comprehensive"
"""The shipped suite with prompts of both domains."""
_CANARIES = 4


class LaunchForm(BaseModel):
    """A number that is left empty is not used."""

    suite: str = Field(max_length=200)
    baseline: str = Field(max_length=200)
    challengers: list[str] = Field(default_factory=list)
    name: str = Field(default="", max_length=120)
    replicates: int = 1
    votes_per_pair: int = 1
    seed: int = 1
    allow_repeats: bool = False
    temperature: float = Sampling.temperature
    top_p: float = Sampling.top_p
    max_new_tokens: int = Sampling.max_new_tokens
    top_k: int = Sampling.top_k
    repetition_penalty: float = Sampling.repetition_penalty
    server: str = Field(default="", max_length=400)
    served_as: str = Field(default="", max_length=10_000)
    """One ``CHECKPOINT=NAME`` a line."""
    reveal: Reveal = Reveal.AT_CLOSE
    gold_pairs: int = 0
    repeat_pairs: int = 0
    placebo_pairs: int = 0
    canary_pairs: int = 0
    ask_recognised: bool = False
    rater_limit: int | None = None
    vote_limit: int | None = None
    gold_min: float | None = None
    gold_votes: int | None = None
    agreement_min: float | None = None
    agreement_votes: int | None = None
    fast_max: float | None = None
    fast_votes: int | None = None
    side_max: float | None = None
    side_votes: int | None = None

    def plan(self) -> LaunchPlan:
        """The plan that was filled in. Numbers of votes count only beside the share that they belong to."""
        rule = {name: getattr(self, name) for name in RULE_PARTS}
        return LaunchPlan(
            suite=self.suite,
            baseline=self.baseline,
            challengers=tuple(self.challengers),
            name=self.name.strip(),
            sampling=Sampling(**{field.name: getattr(self, field.name) for field in fields(Sampling)}),
            replicates=self.replicates,
            votes_per_pair=self.votes_per_pair,
            seed=self.seed,
            allow_repeats=self.allow_repeats,
            reveal=self.reveal,
            exclusion={name: value for name, value in rule.items() if value is not None},
            rater_limit=self.rater_limit,
            vote_limit=self.vote_limit,
            gold_pairs=self.gold_pairs,
            repeat_pairs=self.repeat_pairs,
            placebo_pairs=self.placebo_pairs,
            canary_pairs=self.canary_pairs,
            ask_recognised=self.ask_recognised,
            server=self.server.strip(),
            served_as=read_names([line for line in self.served_as.splitlines() if line.strip()]),
        )


class PlanForm(LaunchForm):
    """The same form when it asks what its plan could find out. A field that is left empty has its usual value."""

    suite: str = Field(default="", max_length=200)
    baseline: str = Field(default=BASE_WORD, max_length=200)
    seconds_per_vote: int = SECONDS_PER_VOTE
    judges: list[uuid.UUID] = Field(default_factory=list)
    in_batches: bool = False

    @model_validator(mode="before")
    @classmethod
    def _left_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, dict) else values


def first_form(page: LaunchPage) -> PlanForm:
    """What the form holds before anything was typed: the newest adapter that can be launched, against its base."""
    names = [suite.name for suite in page.suites]
    able = [one for one in page.checkpoints if one.kind is CheckpointKind.ADAPTER and one.effect_passed is not False]
    chosen = next((one for one in able if one.is_last), able[0] if able else None)
    return PlanForm(
        suite=_SUITE if _SUITE in names else next(iter(names), ""),
        challengers=[chosen.name] if chosen else [],
        canary_pairs=min(page.canary, _CANARIES),
    )
