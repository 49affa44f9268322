"""Storing what was gathered: responses, pairs, ballots, verdicts and tallies, sealed as those that are cast here."""

import hashlib
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from app.domain import blinding
from app.domain.leaks import leaks
from app.domain.terms import (
    BallotState,
    CallState,
    Choice,
    FinishReason,
    Order,
    Outcome,
    PairKind,
    StopReason,
    UnparsedReason,
    VoterKind,
)
from app.models import Ballot, EvalBatch, JudgeCall, Pair, Response, Tally, Verdict
from app.queries.leaks import names_of
from app.queries.seals import BallotSaid, PairSaid, VerdictSaid, ballot_seal_of, pair_seal_of, verdict_seal
from app.services.bulk import Bulk, moment
from app.services.files import sha256_of_json
from app.services.import_gather import CHOICES, Gathered
from app.services.import_plan import ImportPlan, messages_of

PORTION = 2_000
"""Pairs in one transaction."""

ENGINE = "imported"
NO_TEXT = "imported without its text"
"""The engine of a response of which only the author is known."""

_UNTOLD = -1
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_OPPOSITE = {Choice.A: Choice.B, Choice.B: Choice.A}
_PLACE = {Outcome.FIRST: 0, Outcome.SECOND: 1, Outcome.TIE: 2}

_Text = tuple[str, str, bool]
"""Id, text, and whether it says who wrote it."""


class Writer:
    """Stores the portions of one import, in the order of its pairs."""

    def __init__(self, gathered: Gathered, planned: ImportPlan, *, secret: bytes) -> None:
        self._of, self._plan, self._secret = gathered, planned, secret
        self._pair_of = np.array(gathered.verdicts.pair, dtype=np.int64)
        self._by_pair: list[int] = np.argsort(self._pair_of, kind="stable").tolist()
        ends = np.cumsum(np.bincount(self._pair_of, minlength=len(gathered.pairs)))
        self._starts: list[int] = [0, *ends.tolist()]
        self._position = planned.position
        self._voters = list(gathered.voters)
        self._prompt_place = {number: place for place, number in enumerate(planned.prompts)}
        self._hashes: dict[int, str] = {}
        self._responses: dict[tuple[int, str, int], int] = {}
        self._flags: dict[int, bool] = {}
        self._names: tuple[str, ...] = ()

    def portions(self, stored: int) -> Iterator[range]:
        """The pairs of each portion that is to be stored, behind those that are."""
        total = len(self._of.pairs)
        if stored:
            for number in range(stored):
                self._two(number, None)
        return (range(start, min(start + PORTION, total)) for start in range(stored, total, PORTION))

    def ballots_of(self, pairs: range) -> int:
        """How many verdicts, and replies without one, are about these pairs."""
        return self._starts[pairs.stop] - self._starts[pairs.start]

    def write(self, session: Session, batch_id: uuid.UUID, pairs: range) -> None:
        """Store these pairs with their texts and all that was said of them. None of them is there yet."""
        batch = session.get_one(EvalBatch, batch_id)
        self._names = self._names or names_of(session, batch_id)
        rows = Rows(batch)
        for number in pairs:
            self._pair(number, batch, rows)
        rows.store(session)

    def _two(self, number: int, rows: "Rows | None") -> tuple[_Text, _Text, int, int]:
        """The texts of a pair, and the positions of who wrote them: first and second."""
        pairs = self._of.pairs
        low, high = pairs.low[number], pairs.high[number]
        if self._position[low] > self._position[high]:
            low, high = high, low
        prompt, replicate = pairs.prompt[number], pairs.replicate[number]
        first = self._response(prompt, low, replicate, rows)
        return first, self._response(prompt, high, replicate, rows), self._position[low], self._position[high]

    def _response(self, prompt: int, checkpoint: int, replicate: int, rows: "Rows | None") -> _Text:
        known = self._of.responses.get((prompt, checkpoint, replicate), _UNTOLD)
        sha256 = self._hash(prompt)
        number = self._responses.get((checkpoint, sha256, known))
        is_new = number is None
        if number is None:
            number = self._responses[checkpoint, sha256, known] = len(self._responses)
        id_ = self._plan.ids.of("response", number)
        if rows is None:  # it is stored
            return id_, "", False
        text = self._of.texts[known] if known > 0 else ""
        flagged = self._flags.get(number)
        if flagged is None:
            flagged = self._flags[number] = bool(text) and bool(leaks(text, self._names))
        if is_new:
            member = self._plan.members[self._position[checkpoint]]
            digest = hashlib.sha256(text.encode()).hexdigest() if text else _EMPTY_SHA256
            # Two texts by one checkpoint to one prompt need two keys: what is told of them is the text.
            seed = int(digest[:15], 16) if known != _UNTOLD else 0
            engine = NO_TEXT if known == _UNTOLD else ENGINE
            rows.responses.append((id_, member.id, member.fingerprint, sha256, seed, text, digest, engine))
        return id_, text, flagged

    def _hash(self, prompt: int) -> str:
        sha256 = self._hashes.get(prompt)
        if sha256 is None:
            sha256 = self._hashes[prompt] = messages_of(self._of, prompt)[1]
        return sha256

    def _pair(self, number: int, batch: EvalBatch, rows: "Rows") -> None:
        first, second, one, other = self._two(number, rows)
        of, ids, members = self._of.pairs, self._plan.ids, self._plan.members
        prompt, replicate = of.prompt[number], of.replicate[number]
        flagged = first[2] or second[2]
        said = PairSaid(
            ids.of("pair", number), rows.batch_id, ids.of("prompt", self._prompt_place[prompt]), members[one].id,
            members[other].id, PairKind.MAIN, replicate, None, flagged, first[0], second[0],
        )  # fmt: skip
        texts = [members[one].fingerprint, first[1], members[other].fingerprint, second[1]]
        seal = pair_seal_of(said, self._secret, plan=batch.seal, prompt=self._hash(prompt), texts=texts)
        rows.pairs.append((said.id, said.prompt_id, replicate, said.first_id, said.second_id, first[0], second[0], flagged, seal))
        tallies = {VoterKind.RATER: [0] * 7}
        for place in range(self._starts[number], self._starts[number + 1]):
            self._verdict(self._by_pair[place], said, seal, (first[1], second[1]), self._low_is_first(number), tallies, rows)
        for kind, counts in tallies.items():
            rows.tallies.append((said.id, kind.value, *counts))

    def _low_is_first(self, number: int) -> bool:
        return self._position[self._of.pairs.low[number]] < self._position[self._of.pairs.high[number]]

    def _verdict(
        self, number: int, pair: PairSaid, pair_seal: str, texts: tuple[str, str], low_is_first: bool,  # noqa: FBT001
        tallies: dict[VoterKind, list[int]], rows: "Rows",
    ) -> None:  # fmt: skip
        of, ids = self._of.verdicts, self._plan.ids
        voter_number = of.voter[number]
        voter = self._voters[voter_number]
        a_is_first, known = of.a_is_low[number] == low_is_first, bool(of.order_known[number])
        choice = CHOICES[of.choice[number]]
        order = Order.FIRST_IS_A if a_is_first or not known else Order.SECOND_IS_A
        if not known and not a_is_first and choice is not None:  # written the other way round: first is called A
            choice = _OPPOSITE.get(choice, choice)
        is_judge = voter.kind is VoterKind.JUDGE
        slot = int(order is Order.SECOND_IS_A) if is_judge else of.slot[number]
        cast_at = self._of.cast_at(number) or rows.created_at
        seconds = of.seconds[number]
        issued_at = cast_at - timedelta(seconds=seconds) if seconds else cast_at
        ballot = BallotSaid(
            ids.of("ballot", number), pair.id, rows.batch_id, ids.of("voter", voter_number), voter.kind,
            of.number[number], slot, order, known, of.showing[number], False, issued_at, "",  # noqa: FBT003
        )  # fmt: skip
        seal = ballot_seal_of(ballot, self._secret, pair=pair_seal, texts=texts, simulated=voter.simulated)
        state = BallotState.VOTED if choice is not None else BallotState.UNPARSED
        issued, cast = rows.moment(issued_at), rows.moment(cast_at)
        rows.ballots.append((
            ballot.id, pair.id, ballot.voter_id, voter.kind.value, ballot.number, slot, order.value, known,
            ballot.showing, state.value, issued, issued, cast, seal,
        ))  # fmt: skip
        said = self._of.texts[of.said[number]] if of.said[number] else ""
        counts = tallies.setdefault(voter.kind, [0] * 7)
        counts[0] += state is BallotState.VOTED
        if not ballot.showing:
            counts[1 + (order is Order.SECOND_IS_A)] += 1
        if choice is not None:
            outcome = blinding.outcome(choice, order)
            counts[3 + _PLACE[outcome]] += 1
            counts[6] += choice is Choice.BOTH_BAD
            score: float | None = of.score[number]
            if score == _UNTOLD:
                score = None
            elif a_is_first is False and score is not None:  # B was first
                score = 1 - score
            verdict = VerdictSaid(choice, outcome, score, cast_at, said, [], False, seconds)  # noqa: FBT003
            rows.verdicts.append((
                ids.of("verdict", number), ballot.id, choice.value, outcome.value, score, said, seconds, cast,
                verdict_seal(ballot._replace(seal=seal), verdict, self._secret),
            ))  # fmt: skip
        if is_judge:
            rows.calls.append((
                ids.of("call", number), ids.of("judging", voter_number), ballot.id,
                (CallState.UNPARSED if choice is None else CallState.VERDICT).value, issued, cast, said,
                None if choice is not None else (UnparsedReason.SCHEMA if said else UnparsedReason.EMPTY).value,
            ))  # fmt: skip


class Rows:
    """The rows of one portion, until they are stored."""

    def __init__(self, batch: EvalBatch) -> None:
        self.batch_id, self.created_at = str(batch.id), batch.created_at
        self.responses, self.pairs, self.tallies, self.ballots, self.verdicts, self.calls = (
            list[tuple[object, ...]]() for _ in range(6)
        )
        self._now = moment(batch.created_at)

    def moment(self, at: datetime) -> str:
        """A time as text; most are the same."""
        return self._now if at == self.created_at else moment(at)

    def store(self, session: Session) -> None:
        """Insert them."""
        created, batch = self._now, self.batch_id
        Bulk(
            session, Response,
            ("id", "checkpoint_id", "fingerprint", "prompt_sha256", "seed", "text", "text_sha256", "engine"),
            base_hash="", template_hash="", system_sha256=_EMPTY_SHA256, sampling_sha256=sha256_of_json({}), twin=0,
            sampling="{}", token_count=0, finish_reason=FinishReason.UNKNOWN.value, created_at=created,
        ).add(self.responses)  # fmt: skip
        Bulk(
            session, Pair,
            ("id", "prompt_id", "replicate", "first_id", "second_id", "first_response_id", "second_response_id",
             "self_identifies", "seal"),
            eval_batch_id=batch, kind=PairKind.MAIN.value, settled=None, created_at=created,
        ).add(self.pairs)  # fmt: skip
        Bulk(
            session, Tally,
            ("pair_id", "voter_kind", "held", "drawn_first_is_a", "drawn_second_is_a", "first", "second", "tie",
             "both_bad"),
            eval_batch_id=batch,
        ).add(self.tallies)  # fmt: skip
        Bulk(
            session, Ballot,
            ("id", "pair_id", "voter_id", "voter_kind", "number", "slot", "order", "order_known", "showing", "state",
             "issued_at", "expires_at", "closed_at", "seal"),
            eval_batch_id=batch, is_repeat=False, skip_reason="",
        ).add(self.ballots)  # fmt: skip
        Bulk(
            session, Verdict,
            ("id", "ballot_id", "choice", "outcome", "score", "reason", "seconds", "cast_at", "seal"),
            tags="[]", surplus=False, retracted_at=None, retraction_seal=None,
        ).add(self.verdicts)  # fmt: skip
        Bulk(
            session, JudgeCall,
            ("id", "judging_id", "ballot_id", "state", "sent_at", "ended_at", "reply", "unparsed"),
            attempt=1, request="{}", worst_micro_dollars=None, provider_batch="", raw="", stop=StopReason.END.value,
            trouble=None, detail="", confidence=None, answered_as="", request_id="", latency_ms=None, input_tokens=0,
            output_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0, cache_read_tokens=0,
            cost_micro_dollars=None, price_table="",
        ).add(self.calls)  # fmt: skip
