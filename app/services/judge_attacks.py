"""Attacks on a judge: its model is asked about a good and a poor text, the poor one with and without each attack.

Nothing of it is stored: it is about the judge, not about an eval batch.
"""

import random
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from app.domain.attacks import PROMPT, Attack, Gain, Trial, gains, trials
from app.domain.judging import Judged, Unparsed, judge_prompt, read_reply
from app.domain.terms import UnparsedReason
from app.models import Judge
from app.providers.calls import JudgeRequest, Parameters, Provider
from app.providers.errors import ProviderError
from app.providers.pacing import backoff
from app.services.judge_calls import worst_micro_dollars

_TRIES = 4


def requests_of(judge: Judge, attacks: Sequence[Attack]) -> dict[Trial, JudgeRequest]:
    """What has to be asked, exactly as for pairs of an eval batch."""
    return {
        trial: JudgeRequest(
            model=judge.model,
            prompt=judge_prompt(judge.rubric_text, PROMPT, *trial.texts, secrets.token_hex(16)),
            parameters=Parameters(**judge.parameters),
        )
        for trial in trials(attacks)
    }


def worst_cost(judge: Judge, attacks: Sequence[Attack], *, now: datetime) -> int | None:
    """Millionths of a dollar at most if every call goes through at once; ``None``: the model has no price."""
    costs = [worst_micro_dollars(judge, one, in_batch=False, now=now) for one in requests_of(judge, attacks).values()]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def attack(
    judge: Judge,
    provider: Provider,
    attacks: Sequence[Attack],
    *,
    at_once: int,
    retry_seconds: float,
    on_reply: Callable[[], None],
) -> tuple[Gain, ...]:
    """What each attack won.

    Raises:
        ProviderError: the model cannot be asked.
        BadInputError: the plain pair was not judged in both orders, so there is nothing to compare with.
    """
    rng = random.SystemRandom()

    def ask(request: JudgeRequest) -> Judged | Unparsed:
        for tried in range(1, _TRIES + 1):
            try:
                reply = provider.send(request)
                return read_reply(reply.text, reply.stop)
            except ProviderError as error:
                if not error.passing or tried == _TRIES:
                    raise
                time.sleep(backoff(error, tried, rng, retry_seconds))
        raise AssertionError("the last try returns or raises")

    def tell(request: JudgeRequest) -> Judged | Unparsed:
        try:
            return ask(request)
        except ProviderError as error:
            if error.blocks or error.trouble is not error.trouble.BAD_REQUEST:
                raise
            return Unparsed(UnparsedReason.REFUSED, error.message)  # such as a text that is too long for the model
        finally:
            on_reply()

    asked = requests_of(judge, attacks)
    with ThreadPoolExecutor(at_once, thread_name_prefix="attack") as pool:
        return gains(dict(zip(asked, pool.map(tell, asked.values()), strict=True)))
