"""Simulated judges beside a running arena: where they are, and the judges that ``arena up --demo-judges`` adds."""

import os
from datetime import UTC, datetime

import httpx
from sqlalchemy import select

from app.config import Settings
from app.db import session_scope
from app.domain.terms import ProviderKind, VoterKind
from app.models import Voter
from app.providers.calls import Parameters
from app.services.judges import add_judge, find_rubric

PORT = 8719
"""Always the same: a simulated judge has this address and no other, so it never asks a model that costs money."""
URL = f"http://127.0.0.1:{PORT}"
ARGUMENTS = ("--port", str(PORT), "--any-key")
JUDGES = {
    "simulated opus (depth)": "claude-opus-5-5",
    "simulated sonnet (clarity)": "claude-sonnet-5-5",
    "simulated haiku (length)": "claude-haiku-5-5",
}
WORDS = (
    "With simulated judges: they read by simple rules, cost nothing, and all that they say is labelled. "
    f"Try ./arena judge BATCH --judge '{next(iter(JUDGES))}'"
)


def answers() -> bool:
    """Whether the simulated judges listen."""
    try:
        return httpx.get(f"{URL}/v1/models", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def offer(settings: Settings) -> None:
    """Add the judges that are not there, and a key for the processes that start later where there is none.

    The simulated server takes any key, so a real one stays in force for real judges.
    """
    if not settings.anthropic_api_key:
        os.environ["ANTHROPIC_API_KEY"] = "simulated"
    with session_scope() as session:
        there = set(session.scalars(select(Voter.name).where(Voter.kind == VoterKind.JUDGE)))
        for name, model in JUDGES.items():
            if name not in there:
                add_judge(
                    session, name, provider=ProviderKind.ANTHROPIC, model=model, rubric=find_rubric("general"),
                    parameters=Parameters(), base_url=URL, simulated=True, now=datetime.now(UTC),
                )  # fmt: skip
