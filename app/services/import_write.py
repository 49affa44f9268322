"""What was gathered as rows: responses, pairs, ballots, verdicts and tallies, sealed as those that are cast here."""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

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
from app.models import Ballot, JudgeCall, Pair, Response, Tally, Verdict
from app.queries.exports.own import NO_TEXT
from app.queries.seals import (
    BallotSaid,
    PairSaid,
    VerdictSaid,
    said_ballot_seal,
    said_pair_seal,
    said_verdict_seal,
    spelt,
)
from app.services.bulk import Load, load, moment
from app.services.files import sha256_of_json
from app.services.import_gather import CHOICES, Gathered
from app.services.import_plan import Begun, ImportPlan, messages_of

PORTION = 5_000
"""Pairs in one transaction, if they have no more than so many ballots."""

BALLOTS = 25_000

ENGINE = "imported"
"""The engine of a response, where its text is known."""

_UNTOLD = -1
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_RATER, _JUDGE, _SECOND_IS_A = VoterKind.RATER.value, VoterKind.JUDGE.value, Order.SECOND_IS_A.value
_BOTH_BAD = Choice.BOTH_BAD.value
_COUNTS = 7
"""Columns of a tally: held, drawn by order, and verdicts by outcome, with both bad."""

_COLUMNS = {Outcome.FIRST: 3, Outcome.SECOND: 4, Outcome.TIE: 5}
_OPPOSITE = {Choice.A: Choice.B, Choice.B: Choice.A}


class Cast(NamedTuple):
    """What a choice is in the words of storage."""

    choice: str | None
    order: str
    outcome: str
    state: str
    column: int


def _cast(choice: Choice | None, *, known: bool, a_is_first: bool) -> Cast:
    order = Order.FIRST_IS_A if a_is_first or not known else Order.SECOND_IS_A
    if choice is None:
        return Cast(None, order.value, "", BallotState.UNPARSED.value, 0)
    if not known and not a_is_first:  # written the other way round, so that first is called A
        choice = _OPPOSITE.get(choice, choice)
    outcome = blinding.outcome(choice, order)
    return Cast(choice.value, order.value, outcome.value, BallotState.VOTED.value, _COLUMNS[outcome])


_CASTS = {
    (code, known, a_is_first): _cast(choice, known=known, a_is_first=a_is_first)
    for code, choice in enumerate(CHOICES)
    for known in (False, True)
    for a_is_first in (False, True)
}

_Text = tuple[str, str, bool]
"""Id, text, and whether it says who wrote it."""


class Writer:
    """Makes the rows of one import, in the order of its pairs."""

    def __init__(self, gathered: Gathered, planned: ImportPlan, begun: Begun, *, secret: bytes) -> None:
        self._of, self._plan, self._begun, self._secret = gathered, planned, begun, secret
        self._pair_of = np.array(gathered.verdicts.pair, dtype=np.int64)
        self._by_pair: list[int] = np.argsort(self._pair_of, kind="stable").tolist()
        ends = np.cumsum(np.bincount(self._pair_of, minlength=len(gathered.pairs)))
        self._starts: list[int] = [0, *ends.tolist()]
        self._position = planned.position
        self._voters = [
            (voter.kind.value, spelt(voter.simulated), planned.ids.of("voter", number))
            for number, voter in enumerate(gathered.voters)
        ]
        self._prompt_place = {number: place for place, number in enumerate(planned.prompts)}
        self._hashes: dict[int, str] = {}
        self._responses: dict[tuple[int, str, int], int] = {}
        self._flags: dict[int, bool] = {}

    def portions(self) -> Iterator[range]:
        """The pairs of each portion that is to be stored, behind those that are."""
        for number in range(self._begun.stored):
            self._two(number, None)
        start, total = self._begun.stored, len(self._of.pairs)
        while start < total:
            few = bisect_right(self._starts, self._starts[start] + BALLOTS) - 1
            stop = min(max(few, start + 1), start + PORTION, total)
            yield range(start, stop)
            start = stop

    def ballots_of(self, pairs: range) -> int:
        """How many verdicts, and replies without one, are about these pairs."""
        return self._starts[pairs.stop] - self._starts[pairs.start]

    def rows(self, pairs: range) -> list[Load]:
        """These pairs with their texts and all that was said of them. None of them is stored yet."""
        rows = Rows(self._begun)
        for number in pairs:
            self._pair(number, rows)
        return rows.loads()

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
            flagged = self._flags[number] = bool(text) and bool(leaks(text, self._begun.names))
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

    def _pair(self, number: int, rows: "Rows") -> None:
        first, second, one, other = self._two(number, rows)
        of, ids, members = self._of.pairs, self._plan.ids, self._plan.members
        prompt, replicate = of.prompt[number], of.replicate[number]
        flagged = first[2] or second[2]
        said = PairSaid(
            ids.of("pair", number), rows.batch_id, ids.of("prompt", self._prompt_place[prompt]), members[one].id,
            members[other].id, PairKind.MAIN.value, str(replicate), "null", "true" if flagged else "false", first[0],
            second[0],
        )  # fmt: skip
        texts = [members[one].fingerprint, first[1], members[other].fingerprint, second[1]]
        seal = said_pair_seal(said, self._secret, plan=self._begun.seal, prompt=self._hash(prompt), texts=texts)
        rows.pairs.append((
            said.id, said.prompt_id, replicate, said.first_id, said.second_id, first[0], second[0], flagged, seal,
        ))  # fmt: skip
        low_is_first = self._position[of.low[number]] == one
        counts = {_RATER: [0] * _COUNTS}
        shown: Counter[tuple[int, str]] = Counter()
        for place in range(self._starts[number], self._starts[number + 1]):
            verdict = self._by_pair[place]
            self._ballot(verdict, said.id, seal, (first[1], second[1]), low_is_first, counts, shown, rows)
        for kind, counted in counts.items():
            rows.tallies.append((said.id, kind, *counted))

    def _ballot(
        self, number: int, pair_id: str, pair_seal: str, texts: tuple[str, str], low_is_first: bool,  # noqa: FBT001
        counts: dict[str, list[int]], shown: Counter[tuple[int, str]], rows: "Rows",
    ) -> None:  # fmt: skip
        """One ballot with its verdict, in the words of storage."""
        of, ids, voter_number = self._of.verdicts, self._plan.ids, self._of.verdicts.voter[number]
        kind, simulated, voter_id = self._voters[voter_number]
        known, a_is_first = bool(of.order_known[number]), of.a_is_low[number] == low_is_first
        cast = _CASTS[of.choice[number], known, a_is_first]
        is_judge, seconds = kind == _JUDGE, of.seconds[number]
        showing = shown[voter_number, cast.order]
        shown[voter_number, cast.order] += 1
        slot = int(cast.order == _SECOND_IS_A) if is_judge else of.slot[number]
        at, at_spelt, at_stored = rows.moment(self._of.cast_at(number))
        issued_spelt, issued_stored = at_spelt, at_stored
        if seconds:
            _, issued_spelt, issued_stored = rows.moment(at - timedelta(seconds=seconds))
        said = BallotSaid(
            ids.of("ballot", number), pair_id, rows.batch_id, voter_id, kind, simulated, str(of.number[number]),
            str(slot), cast.order, str(showing), "false", issued_spelt,
        )  # fmt: skip
        seal = said_ballot_seal(said, self._secret, pair=pair_seal, texts=texts, order_known=known)
        rows.ballots.append((
            said.id, pair_id, voter_id, kind, of.number[number], slot, cast.order, known, showing, cast.state,
            issued_stored, issued_stored, at_stored, seal,
        ))  # fmt: skip
        counted = counts.get(kind)
        if counted is None:
            counted = counts[kind] = [0] * _COUNTS
        if not showing:
            counted[2 if cast.order == _SECOND_IS_A else 1] += 1
        words = self._of.texts[of.said[number]] if of.said[number] else ""
        if cast.choice is not None:
            counted[0] += 1
            counted[cast.column] += 1
            counted[6] += cast.choice == _BOTH_BAD
            score = None if of.score[number] == _UNTOLD else of.score[number] if a_is_first else 1 - of.score[number]
            tags = self._of.texts[of.tags[number]] if of.tags[number] else "[]"
            told = VerdictSaid(
                cast.choice, cast.outcome, at_spelt, words, tags, "false", spelt(seconds) if seconds else "0.0"
            )
            rows.verdicts.append((
                ids.of("verdict", number), said.id, cast.choice, cast.outcome, score, words, tags, seconds, at_stored,
                said_verdict_seal(told, self._secret, ballot=seal, score=score),
            ))  # fmt: skip
        if is_judge:
            reason = None if cast.choice is not None else UnparsedReason.SCHEMA if words else UnparsedReason.EMPTY
            state = CallState.UNPARSED if reason else CallState.VERDICT
            rows.calls.append((
                ids.of("call", number), ids.of("judging", voter_number), said.id, state.value, issued_stored, at_stored,
                words, reason and reason.value,
            ))  # fmt: skip


class Rows:
    """The rows of one portion, until they are stored."""

    def __init__(self, begun: Begun) -> None:
        self._dialect, self.batch_id, at = begun.dialect, str(begun.batch_id), begun.created_at
        self._now = (at, at.isoformat(), moment(at))
        self.responses, self.pairs, self.tallies, self.ballots, self.verdicts, self.calls = (
            list[tuple[object, ...]]() for _ in range(6)
        )

    def moment(self, at: datetime | None) -> tuple[datetime, str, str]:
        """A time, that of the import where there is none: itself, as it is sealed and as it is stored."""
        if at is None:
            return self._now
        stored = moment(at)
        clock = stored[11:] if at.microsecond else stored[11:19]
        return at, f"{stored[:10]}T{clock}+00:00", stored  # as at.isoformat() has it, at half the time

    def loads(self) -> list[Load]:
        """Table by table, as they will be stored."""
        dialect, created, batch = self._dialect, self._now[2], self.batch_id
        return [
            load(
                dialect, Response, self.responses,
                ("id", "checkpoint_id", "fingerprint", "prompt_sha256", "seed", "text", "text_sha256", "engine"),
                base_hash="", template_hash="", system_sha256=_EMPTY_SHA256, sampling_sha256=sha256_of_json({}), twin=0,
                sampling="{}", token_count=0, finish_reason=FinishReason.UNKNOWN.value, created_at=created,
            ),
            load(
                dialect, Pair, self.pairs,
                ("id", "prompt_id", "replicate", "first_id", "second_id", "first_response_id", "second_response_id",
                 "self_identifies", "seal"),
                eval_batch_id=batch, kind=PairKind.MAIN.value, settled=None, created_at=created,
            ),
            load(
                dialect, Tally, self.tallies,
                ("pair_id", "voter_kind", "held", "drawn_first_is_a", "drawn_second_is_a", "first", "second", "tie",
                 "both_bad"),
                eval_batch_id=batch,
            ),
            load(
                dialect, Ballot, self.ballots,
                ("id", "pair_id", "voter_id", "voter_kind", "number", "slot", "order", "order_known", "showing",
                 "state", "issued_at", "expires_at", "closed_at", "seal"),
                eval_batch_id=batch, is_repeat=False, skip_reason="",
            ),
            load(
                dialect, Verdict, self.verdicts,
                ("id", "ballot_id", "choice", "outcome", "score", "reason", "tags", "seconds", "cast_at", "seal"),
                surplus=False, retracted_at=None, retraction_seal=None,
            ),
            load(
                dialect, JudgeCall, self.calls,
                ("id", "judging_id", "ballot_id", "state", "sent_at", "ended_at", "reply", "unparsed"),
                attempt=1, request="{}", worst_micro_dollars=None, provider_batch="", raw="",
                stop=StopReason.END.value, trouble=None, detail="", confidence=None, answered_as="", request_id="",
                latency_ms=None, input_tokens=0, output_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0,
                cache_read_tokens=0, cost_micro_dollars=None, price_table="",
            ),
        ]  # fmt: skip
