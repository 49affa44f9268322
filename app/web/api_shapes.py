"""Shapes of the JSON API: what clients send and get. A field that is not named here is refused or never sent."""

import uuid
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from app.domain.terms import BatchState, Choice, ReasonTag
from app.queries.ballots import VoteState

LONGEST_REASON = 4000
Words = Annotated[str, StringConstraints(max_length=LONGEST_REASON, pattern=r"^[^\x00]*$")]
"""Free text without the null character, which no database of ours can be relied on to store."""


class Shape(BaseModel):
    """Exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(Shape):
    """One turn of a prompt."""

    role: str = Field(examples=["user"])
    content: str = Field(examples=["Which cheese goes with pears?"])


class ApiBallot(Shape):
    """A prompt and two texts, A and B. Nothing says who wrote which."""

    ballot_id: uuid.UUID
    prompt: list[Turn]
    text_a: str = Field(examples=["A ripe Brie: mild, and sweet beside them."])
    text_b: str = Field(examples=["Pears go with many things."])
    choices: list[Choice] = Field(description="What can be sent as `choice`.", examples=[list(Choice)])


class NextBallot(Shape):
    """The ballot to vote on, or why there is none."""

    state: VoteState = Field(description="`voting`: there is a ballot. Every other value says why there is none.")
    batch_id: uuid.UUID
    ballot: ApiBallot | None
    voted: int = Field(description="Votes this account gave in the eval batch.", ge=0)
    total: int = Field(description="What this account could vote on in all, as far as pairs are formed.", ge=0)
    undo_ballot_id: uuid.UUID | None = Field(description="The last vote, while it can still be taken back.")
    ask_recognised: bool = Field(description="Whether to ask after each vote if an author was recognised.")


class Vote(Shape):
    """A choice on a ballot, in words of the screen."""

    choice: Choice
    reason: Words = Field(default="", examples=["B does not answer the question."])
    tags: list[ReasonTag] = Field(default=[], max_length=len(ReasonTag), examples=[["on_prompt", "clear"]])


class StoredVote(Shape):
    """What stands now."""

    ballot_id: uuid.UUID
    choice: Choice
    late: bool = Field(description="The ballot had expired: the vote is kept and does not count.")


class Skip(Shape):
    """Why, if the voter wants to say."""

    reason: Words = ""


class Skipped(Shape):
    """The ballot is closed without a vote, and its pair does not come back."""

    ballot_id: uuid.UUID
    skipped: bool = True


class Undone(Shape):
    """The vote was taken back; the same pair in the same order waits as a new ballot."""

    ballot_id: uuid.UUID = Field(description="The new ballot; `GET /api/ballots/next` shows it.")
    undone_ballot_id: uuid.UUID


class Recognised(Shape):
    """Whether the voter thinks to have recognised who wrote one of the texts."""

    recognised: StrictBool


class StoredRecognised(Shape):
    """What stands now."""

    ballot_id: uuid.UUID
    recognised: bool


class ApiBatch(Shape):
    """An eval batch that this account may vote on."""

    id: uuid.UUID
    title: str | None = Field(description="What the rater was told when joining; `null` without a seat (admins).")
    state: BatchState
    voted: int = Field(ge=0)
    total: int = Field(ge=0)


class ApiBatches(Shape):
    """The newest first, fifty at most."""

    batches: list[ApiBatch]


class Report(BaseModel):
    """What `./arena report --json` prints. Fields may be added within a version of the schema."""

    model_config = ConfigDict(extra="allow", frozen=True)

    schema_name: str = Field(alias="schema", examples=["brie-arena-report/1"])
    batch: dict[str, Any]
    matchups: list[dict[str, Any]]


class ApiError(Shape):
    """Every error: one sentence that says what happened, what was kept and what to do next."""

    error: str = Field(examples=["This pair has your vote already, and it stands as you first cast it."])


_MEANINGS = {
    400: "The body is not readable: no valid UTF-8, nested too deeply, or a number too long.",
    401: "No token, or one that is unknown, expired, revoked, or of a disabled account.",
    403: "The token lacks the scope of this route.",
    404: "It does not exist, or not for this account (one answer for both).",
    409: "It contradicts what is stored. What is stored stands.",
    413: "The request is larger than one megabyte. The one answer that may be plain text.",
    422: "A field cannot be used; the sentence names it.",
    429: "Asked too often. `Retry-After` says in how many seconds to ask again.",
    503: "The database does not answer. Nothing was changed; try again.",
}


_AS_TEXT = {"text/plain": {"schema": {"type": "string"}, "example": "Content Too Large"}}
"""What the server itself says, before our code runs, to a request that announces a body beyond its limit."""


def errors(*more: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route: those that every route has, and these."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": ApiError, "description": _MEANINGS[status]}
        for status in sorted({401, 403, 422, 429, 503, *more})
    }
    if 413 in found:  # noqa: PLR2004 (a status)
        found[413]["content"] = _AS_TEXT
    return found
