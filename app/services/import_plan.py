"""The frozen side of an import: members in order, ids, and the eval batch that the verdicts go into.

Ids follow from the name and the digest of what was taken, and count upwards. So the same import finds its own rows
again, and a database adds them at the end of its indexes.
"""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError
from app.domain.imports.items import UNKNOWN_PROMPT
from app.domain.names import check_name
from app.domain.pairing import matchups
from app.domain.terms import (
    BatchState,
    CheckpointKind,
    Design,
    JudgingState,
    ProviderKind,
    Reveal,
    VoterKind,
)
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Judge, Judging, Prompt, Suite, Voter
from app.queries.seals import plan_seal_of
from app.services.bulk import insert, load
from app.services.files import sha256_of_json
from app.services.import_gather import Gathered

_LONGEST_CHECKPOINT, _LONGEST_VOTER, _MOST_MEMBERS = 200, 120, 2_000


class Ids:
    """Ids of one import: ``of("pair", 7)``. RFC 9562, version 8: half of it says whose, the rest counts."""

    KINDS = (
        "batch", "suite", "checkpoint", "member", "prompt", "response", "pair", "ballot", "verdict", "voter", "judge",
        "judging", "call",
    )  # fmt: skip

    def __init__(self, name: str, digest: str) -> None:
        half = hashlib.sha256(json.dumps(["import", name, digest]).encode()).hexdigest()[:15]
        self._prefix = {
            kind: f"{half[:8]}-{half[8:12]}-8{half[12:]}-8{place:x}00-" for place, kind in enumerate(self.KINDS)
        }

    def of(self, kind: str, number: int) -> str:
        """One id, as text."""
        return f"{self._prefix[kind]}{number:012x}"

    def uuid(self, kind: str, number: int) -> uuid.UUID:
        """The same as the databases' type has it."""
        return uuid.UUID(self.of(kind, number))

    def prefix(self, kind: str) -> str:
        """What all ids of a kind begin with; 12 hexadecimal digits follow."""
        return self._prefix[kind]


@dataclass(frozen=True)
class Member:
    """A checkpoint of an import."""

    number: int
    """In what was gathered."""
    name: str
    """As the files call it."""
    id: str
    fingerprint: str


@dataclass(frozen=True)
class Begun:
    """An import whose eval batch is there."""

    batch_id: uuid.UUID
    seal: str | None
    """Of the plan of the eval batch."""
    created_at: datetime
    names: tuple[str, ...]
    """What a text might call the checkpoints by."""
    dialect: str
    """Of the database."""
    complete: bool
    """All of it was there before; nothing is left to do."""
    stored: int
    """Pairs that are stored with all that was said of them."""


@dataclass(frozen=True)
class ImportPlan:
    """What is fixed before the first verdict is stored."""

    name: str
    digest: str
    ids: Ids
    members: tuple[Member, ...]
    """By position; the first is the baseline."""
    design: Design
    prompts: tuple[int, ...]
    """Those that are met in a pair, by position."""

    @property
    def position(self) -> dict[int, int]:
        """The position of a checkpoint by its number in what was gathered."""
        return {member.number: place for place, member in enumerate(self.members)}


def plan(gathered: Gathered, name: str, *, baseline: str = "") -> ImportPlan:
    """Who is compared with whom.

    Raises:
        BadInputError: the name is none, or the baseline is not among the checkpoints.
    """
    check_name(name, "eval batch")
    digest, names = gathered.digest(), list(gathered.checkpoints)
    ids = Ids(name, digest)
    for kind, given, longest in (
        ("checkpoint", (f"{name}/{one}" for one in names), _LONGEST_CHECKPOINT),
        ("voter", (voter.name for voter in gathered.voters), _LONGEST_VOTER),
    ):
        for one in given:
            if not one or len(one) > longest:
                raise BadInputError(
                    f"The name of a {kind}, {one[:60]!r}, has {len(one)} characters; 1 to {longest} fit. "
                    "Nothing was imported."
                )
    met = [(low, high) for low, high in zip(gathered.pairs.low, gathered.pairs.high, strict=True)]
    compared = sorted({*(number for two in met for number in two), *range(gathered.ordered)})
    if len(compared) > _MOST_MEMBERS:
        raise BadInputError(f"Nothing was imported: {len(compared)} checkpoints; one eval batch has {_MOST_MEMBERS}.")
    first, design = _baseline(gathered, baseline, met, names)
    if gathered.ordered:
        rest = [number for number in compared if number != first]
    else:
        rest = sorted((number for number in compared if number != first), key=lambda number: names[number])
    members = []
    for position, number in enumerate([first, *rest]):
        told = hashlib.sha256(json.dumps(["external", name, names[number]]).encode()).hexdigest()
        # Beginning with the position, so that canonical order is the order of the members.
        members.append(Member(number, names[number], ids.of("checkpoint", position), f"{position:04x}{told[:60]}"))
    used = set(gathered.pairs.prompt)
    return ImportPlan(
        name,
        digest,
        ids,
        tuple(members),
        design,
        tuple(number for number in range(len(gathered.prompts)) if number in used),
    )


def _baseline(
    gathered: Gathered, wanted: str, met: Sequence[tuple[int, int]], names: Sequence[str]
) -> tuple[int, Design]:
    """The one whom all others met, and whether nobody else met."""
    counts = Counter(number for two in set(met) for number in two)
    everywhere = [number for number, count in counts.items() if count == len(set(met))]
    if wanted:
        if counts[gathered.checkpoints.get(wanted, -1)] == 0:
            raise BadInputError(
                f"Nothing was imported: {wanted!r} is none of the compared checkpoints. They are "
                f"{', '.join(sorted(names[number] for number in counts))[:400]}."
            )
        number = gathered.checkpoints[wanted]
    elif gathered.ordered:
        number = 0
    elif everywhere:
        verdicts, pairs = gathered.verdicts, gathered.pairs
        shown_first = -1
        if len(verdicts):
            pair = verdicts.pair[0]
            shown_first = pairs.low[pair] if verdicts.a_is_low[0] else pairs.high[pair]
        number = shown_first if shown_first in everywhere else min(everywhere, key=lambda one: names[one])
    else:
        number = min(counts, key=lambda one: names[one])
    star = number in everywhere and gathered.design is not Design.ROUND_ROBIN
    return number, Design.STAR if star else Design.ROUND_ROBIN


def begin(session: Session, gathered: Gathered, planned: ImportPlan, *, secret: bytes, now: datetime) -> EvalBatch:
    """The eval batch of an import, made or found again.

    Raises:
        ConflictError: the name is taken by something else.
    """
    there = session.scalar(select(EvalBatch).where(EvalBatch.name == planned.name))
    if there is not None:
        if (there.imported_from or {}).get("digest") != planned.digest:
            raise ConflictError(
                f"There is an eval batch {planned.name!r} already, with other content. Nothing was changed. "
                "Choose another name; an import that grew is a new one."
            )
        return there
    checkpoints = [f"{planned.name}/{member.name}" for member in planned.members]
    taken = session.scalar(select(Checkpoint.name).where(Checkpoint.name.in_(checkpoints)).limit(1))
    if taken is not None:
        raise ConflictError(f"There is a checkpoint {taken!r} already. Nothing was imported; choose another name.")
    suite = _suite(session, gathered, planned, now=now)
    for member, called in zip(planned.members, checkpoints, strict=True):
        session.add(
            Checkpoint(
                id=uuid.UUID(member.id), name=called, kind=CheckpointKind.EXTERNAL, fingerprint=member.fingerprint,
                origin={"imported": planned.name, "model": member.name}, created_at=now,
            )
        )  # fmt: skip
    session.flush()
    batch = _batch(gathered, planned, suite, now=now)
    session.add(batch)
    session.flush()
    session.add_all(
        BatchCheckpoint(
            id=planned.ids.uuid("member", position), eval_batch_id=batch.id, checkpoint_id=uuid.UUID(member.id),
            position=position, fingerprint=member.fingerprint,
        )
        for position, member in enumerate(planned.members)
    )  # fmt: skip
    prompts = _prompts(session, gathered, planned)
    members = [
        [position, uuid.UUID(member.id), member.fingerprint, CheckpointKind.EXTERNAL, called]
        for position, (member, called) in enumerate(zip(planned.members, checkpoints, strict=True))
    ]
    batch.seal = plan_seal_of(batch, secret, members=members, prompts=prompts)
    _voters(session, gathered, planned, batch, now=now)
    session.flush()
    return batch


def _suite(session: Session, gathered: Gathered, planned: ImportPlan, *, now: datetime) -> Suite:
    newest = session.scalar(select(func.max(Suite.version)).where(Suite.name == planned.name))
    suite = Suite(
        id=planned.ids.uuid("suite", 0),
        name=planned.name,
        version=(newest or 0) + 1,
        title=planned.name,
        description=f"The prompts of an import in the format {gathered.format}.",
        sha256=planned.digest,
        source=f"import of {gathered.format}",
        created_at=now,
    )
    session.add(suite)
    session.flush()
    return suite


def _batch(gathered: Gathered, planned: ImportPlan, suite: Suite, *, now: datetime) -> EvalBatch:
    prints = [member.fingerprint for member in planned.members]
    matchups(planned.design, prints[0], prints[1:])  # refuses members that cannot meet
    responses = {(prompt, number) for prompt, number, _ in gathered.responses}
    return EvalBatch(
        id=planned.ids.uuid("batch", 0),
        name=planned.name,
        suite_id=suite.id,
        design=planned.design,
        baseline_id=uuid.UUID(planned.members[0].id),
        sampling={},
        system_prompt="",
        seed=0,
        replicates=1 + max(gathered.pairs.replicate),
        votes_per_pair=max(1, *gathered.pairs.raters, 1),
        allow_repeats=True,
        exclusion={},
        rater_limit=None,
        vote_limit=None,
        gold_pairs=0,
        repeat_pairs=0,
        placebo_pairs=0,
        canary_pairs=0,
        ask_recognised=False,
        reveal=Reveal.AT_CLOSE,
        state=BatchState.IMPORTING,
        planned_pairs=len(gathered.pairs),
        planned_responses=len(responses),
        created_at=now,
        closed_at=None,
        imported_from={"format": gathered.format, "digest": planned.digest, "texts": bool(gathered.responses)},
    )


_UNKNOWN = [{"role": "user", "content": UNKNOWN_PROMPT}]
_TOLD = (json.dumps(_UNKNOWN), sha256_of_json(_UNKNOWN))


def messages_of(gathered: Gathered, number: int) -> tuple[str, str]:
    """The messages of a prompt as JSON, and their hash."""
    if not gathered.messages[number]:
        return _TOLD
    messages = gathered.texts[gathered.messages[number]]
    return messages, sha256_of_json(json.loads(messages))


def _prompts(session: Session, gathered: Gathered, planned: ImportPlan) -> list[list[object]]:
    """Store the prompts; returns what the seal of the plan covers of each."""
    keys = list(gathered.prompts)
    rows, sealed = [], list[list[object]]()
    for position, number in enumerate(planned.prompts):
        messages, sha256 = messages_of(gathered, number)
        category, domain = gathered.category[number], gathered.domain(number)
        rows.append(
            (planned.ids.of("prompt", position), position, keys[number], category, domain.value, messages, sha256)
        )
        sealed.append([position, keys[number], category, domain, sha256])
    columns = ("id", "position", "key", "category", "domain", "messages", "sha256")
    dialect = session.get_bind().dialect.name
    insert(session, [load(dialect, Prompt, rows, columns, suite_id=planned.ids.of("suite", 0))])
    return sealed


def _voters(session: Session, gathered: Gathered, planned: ImportPlan, batch: EvalBatch, *, now: datetime) -> None:
    """Voters of this import alone: nobody can sign in as one, and no judge of them can be asked anything."""
    ids = planned.ids
    voters = list(gathered.voters)
    session.add_all(
        Voter(id=ids.uuid("voter", n), kind=voter.kind, name=voter.name, simulated=voter.simulated, created_at=now)
        for n, voter in enumerate(voters)
    )
    session.flush()
    judges = [(n, voter) for n, voter in enumerate(voters) if voter.kind is VoterKind.JUDGE]
    session.add_all(
        Judge(
            id=ids.uuid("judge", n), voter_id=ids.uuid("voter", n), provider=ProviderKind.IMPORTED, base_url="",
            model=voter.name, rubric_name="imported", rubric_version=1,
            rubric_sha256=hashlib.sha256(b"").hexdigest(), rubric_text="", parameters={},
            fingerprint=sha256_of_json(["imported", str(batch.id), voter.name, voter.simulated]), created_at=now,
            retired_at=now,
        )
        for n, voter in judges
    )  # fmt: skip
    session.flush()
    session.add_all(
        Judging(
            id=ids.uuid("judging", n), eval_batch_id=batch.id, judge_id=ids.uuid("judge", n),
            mode=gathered.mode(n, voter), state=JudgingState.DONE,
            message="Imported.", created_at=now, ended_at=now,
        )
        for n, voter in judges
    )  # fmt: skip
