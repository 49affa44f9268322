"""A study in which everything has happened that can happen to a vote, for whoever checks what is left of it."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.serving import ServerTold
from app.domain.terms import CheckpointKind, Choice, FinishReason, PairKind, ReasonTag, VoterKind
from app.models import Ballot, Checkpoint, EvalBatch, Pair, Prompt, Response, Tally, Voter
from app.queries.seals import pair_seal, plan_seal
from app.services import assignment, simulation, voting
from app.services.serving import note_told
from app.services.simulation import Taste
from tests.factories import NOW, RULES, make_rater, make_study, plain_text, question, sha256

CHOICES = (Choice.A, Choice.TIE, Choice.B, Choice.BOTH_BAD, Choice.B)


@dataclass
class Story:
    """The eval batch, and what can be told of it by ids."""

    batch: EvalBatch
    rng: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311
    moment: datetime = NOW
    undone: list[UUID] = field(default_factory=list)
    late: list[UUID] = field(default_factory=list)
    skipped: list[UUID] = field(default_factory=list)

    def later(self) -> datetime:
        """Every act has a moment of its own."""
        self.moment += timedelta(seconds=7)
        return self.moment


def _text(position: int, planned: object) -> str:
    said = plain_text(position, planned)  # type: ignore[arg-type]
    if position == 0 and "number 5?" in question(planned):  # type: ignore[arg-type]
        said += " As Qwen, I would know."
    return "All say this." if "number 3?" in question(planned) else said  # type: ignore[arg-type]


def tell(session: Session, folder: Path, *, votes: int = 2) -> Story:
    """Votes of all kinds, undo, skip, a late vote, repeats, a gold pair, recognitions, simulated raters, a server."""
    study = make_study(
        session, folder, prompts=9, text=_text, votes_per_pair=votes, repeat_pairs=1,
        ask_recognised=True, name="study",
    )  # fmt: skip
    story = Story(study.batch)
    _gold(session, study.batch)
    note_told(study.batch, ServerTold("vllm 0.10.1", ("two models wrote the same",)), RULES.secret)
    late = make_rater(session, "late")
    lost = _issue(session, story, late)
    story.moment += RULES.lease + timedelta(minutes=1)
    for name in ("ann", "bob"):
        _vote(session, story, make_rater(session, name))
    voting.cast(session, lost.id, late, Choice.A, rules=RULES, now=story.later())
    story.late.append(lost.id)
    taste = Taste(rate=0.6, noise=0.0, ties=0.1)
    rates = simulation.tastes_of(session, study.batch, taste, story.rng)
    for voter in simulation.begin(session, study.batch, raters=1, now=story.later()):
        for _ in range(2):
            simulation.vote_once(
                session, study.batch.id, voter, taste, rates, rules=RULES, now=story.later(), rng=story.rng
            )
    _issue(session, story, make_rater(session, "reads"))  # an open ballot
    session.flush()
    return story


def _issue(session: Session, story: Story, voter: Voter) -> Ballot:
    ballot = assignment.issue(session, story.batch.id, voter, rules=RULES, now=story.later(), rng=story.rng)
    assert ballot is not None
    return ballot


def _vote(session: Session, story: Story, voter: Voter) -> None:
    """A rater's evening: seven ballots, one of them skipped, one vote taken back and given again, a repeat at last."""
    for turn in range(9):
        ballot = _issue(session, story, voter)
        if turn == 2:
            voting.skip(session, ballot.id, voter, now=story.later(), reason="hard")
            story.skipped.append(ballot.id)
            continue
        choice = CHOICES[turn % len(CHOICES)]
        verdict = voting.cast(
            session, ballot.id, voter, choice, rules=RULES, now=story.later(), reason="so", tags=[ReasonTag.CLEAR]
        )
        if turn == 3:
            again = voting.undo(session, ballot.id, voter, rules=RULES, now=story.later())
            story.undone.append(ballot.id)
            verdict = voting.cast(session, again.id, voter, Choice.B, rules=RULES, now=story.later())
        if turn % 3 == 0:
            voting.recognise(session, ballot.id if turn != 3 else again.id, voter, turn == 0, rules=RULES,
                             now=story.later())  # fmt: skip
        assert verdict.retracted_at is None


def _gold(session: Session, batch: EvalBatch) -> None:
    """A pair with a known better text, which everybody gets in both orders; planned as if it had been at launch."""
    batch.gold_pairs = 1
    session.flush()
    batch.seal = plan_seal(session, batch, RULES.secret)
    for pair in session.query(Pair).where(Pair.eval_batch_id == batch.id):
        pair.seal = pair_seal(session, pair, RULES.secret)
    prompt = session.query(Prompt).where(Prompt.suite_id == batch.suite_id).order_by(Prompt.position).first()
    assert prompt is not None
    texts = {"worse": "No.", "better": "A cheese asks for patience, and this one has had it."}
    sides = []
    for name, text in texts.items():
        checkpoint = Checkpoint(
            name=f"control/{name}", kind=CheckpointKind.CONTROL, fingerprint=sha256(name), created_at=NOW
        )
        session.add(checkpoint)
        session.flush()
        response = Response(
            checkpoint_id=checkpoint.id, fingerprint=checkpoint.fingerprint, base_hash="", template_hash="",
            prompt_sha256=prompt.sha256, system_sha256="", sampling_sha256="", seed=0, twin=0, sampling={}, text=text,
            text_sha256=sha256(text), token_count=3, finish_reason=FinishReason.STOP, engine="", created_at=NOW,
        )  # fmt: skip
        session.add(response)
        session.flush()
        sides.append((checkpoint, response))
    (worse, first), (better, second) = sides
    pair = Pair(
        eval_batch_id=batch.id, kind=PairKind.GOLD, prompt_id=prompt.id, replicate=0, first_id=worse.id,
        second_id=better.id, first_response_id=first.id, second_response_id=second.id, settled=None,
        self_identifies=False, created_at=NOW,
    )  # fmt: skip
    session.add(pair)
    session.flush()
    pair.seal = pair_seal(session, pair, RULES.secret)
    session.add(Tally(pair_id=pair.id, voter_kind=VoterKind.RATER, eval_batch_id=batch.id))
    session.flush()
