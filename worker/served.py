"""Generation by another server: it is checked and probed before it is asked, and what it cannot prove is said."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from app.config import get_settings
from app.db import session_scope
from app.domain.serving import ServerTold, Serving
from app.domain.terms import FinishReason
from app.providers.errors import ProviderError
from app.providers.model_server import Ask, Completion, ModelServer, ServedModel
from app.services import serving as servings
from app.services.responses import Planned
from worker.claim import Claim
from worker.response_writer import ResponseWriter, open_batch
from worker.served_engine import ServedEngine

_PROBES = 3
_PROBE_TOKENS = 32
"""Long enough for a trained adapter to go another way than its base on one prompt of three."""
_LONGEST_ENGINE = 400
_ENDS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
_KEPT = "Not all responses are there, and those that are, are kept"


@dataclass(frozen=True)
class Served:
    """What is to be written: the responses of the plan that are missing, and who is who.

    ``names`` by fingerprint as people know the checkpoints; ``bases`` the fingerprints of bare bases among them.
    """

    serving: Serving
    plan: Sequence[Planned]
    missing: Sequence[Planned]
    sampling: Mapping[str, Any]
    names: Mapping[str, str]
    bases: frozenset[str]


def write_served(claim: Claim, work: Served, writer: ResponseWriter, should_stop: Callable[[], bool]) -> None:
    """Let the server of the plan write what is missing.

    Raises:
        ConflictError, UnavailableError: it has not all models of the plan, refuses something, or stays away; what was
            written is kept.
        Cancelled: somebody asked to stop.
    """
    settings = get_settings()
    writer.say(f"Asking {work.serving.place} what it has")
    try:
        with closing(servings.connect(work.serving, settings)) as server:
            listed = server.models()
            servings.require_served(work.serving, work.bases, listed)
            software = _software(server, listed, work.serving)
            engine = ServedEngine(
                server,
                most=settings.generation_concurrency,
                first_wait=settings.generation_retry_seconds,
                rng=random.SystemRandom(),
            )
            writer.say("Comparing what the models say to the same prompts")
            warnings = _probe(engine, work, should_stop)
            with session_scope() as session:
                claim.hold(session)
                told = ServerTold(software, tuple(warnings))
                servings.note_told(open_batch(session, claim), told, settings.secret_key())
            for came in engine.complete([_ask(planned, work) for planned in work.missing], should_stop):
                for ask, done in came:
                    end = _ENDS.get(done.end, FinishReason.UNKNOWN)
                    writer.add(ask.key, done.text, done.tokens, end, engine=_engine(work.serving, ask, done, software))
                writer.flush()
    except ProviderError as error:
        servings.explain(
            error, work.serving, _KEPT, "Then press “Go on writing responses” on the page of the eval batch"
        )


def _ask(planned: Planned, work: Served) -> Ask:
    return Ask(
        key=str(planned.seed),
        model=work.serving.models[planned.key["fingerprint"]],
        messages=planned.messages,
        sampling=work.sampling,
        seed=planned.seed,
    )


def _software(server: ModelServer, listed: Sequence[ServedModel], serving: Serving) -> str:
    """As far as the server tells: ``vllm 0.10.1``."""
    owners = dict.fromkeys(one.owner for one in listed if one.name in serving.models.values() and one.owner)
    return " ".join((*owners, server.version())).strip()


def _engine(serving: Serving, ask: Ask, done: Completion, software: str) -> str:
    """What is stored with a response in place of the fingerprint of an engine here. No key is part of the address."""
    told = {
        "openai": serving.url,
        "model": done.model or ask.model,
        "software": software,
        "system_fingerprint": done.system_fingerprint,
        "weights": "not verified",
    }
    return ", ".join(f"{name} {value}" for name, value in told.items() if value)[:_LONGEST_ENGINE]


def _probe(engine: ServedEngine, work: Served, should_stop: Callable[[], bool]) -> list[str]:
    """A sentence for each two checkpoints that say the same to every probe, as one model under two names would."""
    greedy = {**work.sampling, "temperature": 0, "max_new_tokens": min(_PROBE_TOKENS, work.sampling["max_new_tokens"])}
    prompts = list({planned.key["prompt_sha256"]: planned for planned in work.plan}.values())[:_PROBES]
    asks = [
        Ask(f"{number} {fingerprint}", name, planned.messages, greedy, seed=1)
        for number, planned in enumerate(prompts)
        for fingerprint, name in work.serving.models.items()
    ]
    said = {ask.key: done.text for came in engine.complete(asks, should_stop) for ask, done in came}
    return [
        f"To each of {len(prompts)} probe prompts, {work.names[one]} and {work.names[other]} gave the same text "
        "word for word at temperature 0: the server may be answering with one model under both names. Check there that "
        "the adapters are loaded."
        for one, other in combinations(work.serving.models, 2)
        if all(said[f"{number} {one}"] == said[f"{number} {other}"] for number in range(len(prompts)))
    ]
