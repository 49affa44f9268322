"""Judges: adding and retiring them, and how the provider of one is reached."""

from contextlib import closing
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.config import DATA, Settings
from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.rubric import Rubric, shipped_rubrics
from app.domain.terms import ProviderKind, VoterKind
from app.models import Judge, Voter
from app.providers.calls import ModelOffer, Parameters, Provider
from app.providers.connect import connect
from app.services.files import sha256_of_json

RUBRICS = DATA / "rubrics"
"""Files that ship; an admin may add more beside them."""
_LONGEST_NAME = 120
_LOOK_SECONDS = 10.0
"""Somebody looks at a page meanwhile."""


def find_rubric(label: str) -> Rubric:
    """A rubric by its name, the newest version, or by ``name@version``.

    Raises:
        NotFoundError: there is none; says which there are.
    """
    name, _, version = label.partition("@")
    rubrics = shipped_rubrics(RUBRICS)
    found = [one for one in rubrics if one.name == name and version in ("", str(one.version))]
    if not found:
        raise NotFoundError(
            f"There is no rubric {label!r}. There are {', '.join(one.name for one in rubrics)} in data/rubrics."
        )
    return found[-1]


def add_judge(
    session: Session,
    name: str,
    *,
    provider: ProviderKind,
    model: str,
    rubric: Rubric,
    parameters: Parameters,
    base_url: str = "",
    simulated: bool = False,
    now: datetime,
) -> Judge:
    """Store a judge and its voter. ``simulated``: its server only plays a judge, and everything it says is labelled.

    Raises:
        BadInputError: name or model is empty, too long, or the address is missing.
        ConflictError: the name is taken, or the very same judge is here under another.
    """
    name, model, base_url = name.strip(), model.strip(), base_url.strip().rstrip("/")
    if not name or not model:
        raise BadInputError("A judge needs a name and a model. None was added.")
    if len(name) > _LONGEST_NAME or len(model) > 200 or len(base_url) > 300:  # noqa: PLR2004 (the columns' lengths)
        raise BadInputError(
            f"A name has at most {_LONGEST_NAME} characters, a model 200, an address 300. None was added."
        )
    if provider is ProviderKind.OPENAI_COMPATIBLE and not base_url:
        raise BadInputError(
            "A server that speaks chat completions needs its address, such as http://127.0.0.1:11434/v1. "
            "None was added."
        )
    connect(provider, key="not used here", base_url=base_url).close()  # refuses an address that is none
    same_name = select(Voter.id).where(Voter.kind == VoterKind.JUDGE, func.lower(Voter.name) == name.lower())
    if session.scalar(same_name) is not None:
        raise ConflictError(f"There is a judge {name} already. Give this one another name.")
    known = session.scalar(
        select(Judge.rubric_sha256)
        .where(Judge.rubric_name == rubric.name, Judge.rubric_version == rubric.version)
        .where(Judge.rubric_sha256 != rubric.sha256)
        .limit(1)
    )
    if known is not None:
        raise ConflictError(
            f"The rubric {rubric.label} was changed since a judge was made with it. Give it a new version, so that "
            "what that judge said stays readable. None was added."
        )
    what = {
        "provider": provider.value,
        "base_url": base_url,
        "model": model,
        "rubric": rubric.sha256,
        "parameters": parameters.as_json(),
    }
    fingerprint = sha256_of_json(what)
    twin = session.scalar(
        select(Voter.name).join(Judge, Judge.voter_id == Voter.id).where(Judge.fingerprint == fingerprint)
    )
    if twin is not None:
        raise ConflictError(f"This is the judge {twin}: the same model, rubric and parameters. None was added.")
    voter = Voter(kind=VoterKind.JUDGE, name=name, simulated=simulated, created_at=now)
    session.add(voter)
    session.flush()
    judge = Judge(
        voter_id=voter.id,
        provider=provider,
        base_url=base_url,
        model=model,
        rubric_name=rubric.name,
        rubric_version=rubric.version,
        rubric_sha256=rubric.sha256,
        rubric_text=rubric.text,
        parameters=parameters.as_json(),
        fingerprint=fingerprint,
        created_at=now,
        retired_at=None,
    )
    session.add(judge)
    session.flush()
    return judge


def find_judge(session: Session, name: str) -> Judge:
    """A judge by its name, capitals or not.

    Raises:
        NotFoundError: there is none; says which there are.
    """
    imported_last = (Judge.provider == ProviderKind.IMPORTED, Voter.name)
    query = select(Judge, Voter.name).join(Voter, Voter.id == Judge.voter_id).order_by(*imported_last)
    found = session.execute(query).all()
    for judge, called in found:
        if called.lower() == name.strip().lower():
            return judge
    names = ", ".join(called for _, called in found) or "none yet: add one on the page Judges or by ./arena judges add"
    raise NotFoundError(f"There is no judge {name!r}. There are {names}.")


def set_retired(judge: Judge, *, retired: bool, now: datetime) -> None:
    """Offer a judge for new eval batches, or no more. What it said stays.

    Raises:
        ConflictError: what it said was imported, so it cannot be offered.
    """
    if judge.provider is ProviderKind.IMPORTED and not retired:
        raise ConflictError("What this judge said was imported. It can be asked nothing, so it is offered nowhere.")
    judge.retired_at = (judge.retired_at or now) if retired else None


def has_key(settings: Settings) -> bool:
    """Whether judges at Anthropic can be asked at all. Whether the key is accepted, only Anthropic can say."""
    return bool(settings.anthropic_api_key.strip())


def offers_of(provider: ProviderKind, base_url: str, settings: Settings) -> tuple[ModelOffer, ...]:
    """What a provider offers: asks it over the network, and waits for seconds at most.

    Raises:
        ProviderError: there is no key or a wrong one, no network, or no such list; says what to do.
        BadInputError: the address is none.
    """
    ours = provider is ProviderKind.ANTHROPIC
    with closing(
        connect(
            provider,
            key=settings.anthropic_api_key if ours else settings.openai_api_key,
            base_url=base_url.strip() or (settings.anthropic_base_url if ours else ""),
            timeout_seconds=_LOOK_SECONDS,
        )
    ) as found:
        return found.models()


def provider_of(judge: Judge, settings: Settings) -> Provider:
    """The provider of a judge, with the operator's key.

    Raises:
        MissingKeyError: Anthropic's own API without a key.
    """
    ours = judge.provider is ProviderKind.ANTHROPIC
    return connect(
        judge.provider,
        key=settings.anthropic_api_key if ours else settings.openai_api_key,
        base_url=judge.base_url or (settings.anthropic_base_url if ours else ""),
        timeout_seconds=settings.judge_timeout_seconds,
    )
