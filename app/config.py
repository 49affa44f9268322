"""Settings: the only reader of the environment. Every field stands in ``.env.example`` (tested)."""

import os
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Literal

from limits import parse_many
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.errors import BadInputError

ROOT = Path(__file__).resolve().parent.parent
"""The source tree: templates, static files, migrations and shipped data live under it."""

DATA = ROOT / "data"


class Settings(BaseSettings):
    """What an operator may choose, by environment variable (prefix ``ARENA_``) or ``.env`` file."""

    model_config = SettingsConfigDict(env_prefix="ARENA_", env_file=ROOT / ".env", extra="ignore", frozen=True)

    home: Path = Field(default=ROOT / "var", description="Folder of all local state.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite under home.")
    broker_url: str = Field(default="", description="redis://… for several machines; empty: a folder under home.")
    host: str = Field(default="127.0.0.1", description="Address the web page listens on.")
    port: int = Field(default=8710, ge=1, le=65535, description="Port the web page listens on.")
    secret: str = Field(default="", description="Key of the seals; empty: made once and kept under home.")
    base_model: str = Field(default="smollm2-135m", description="Base model fetched at the first start.")
    sample_study: bool = Field(default=True, description="Whether the sample study is loaded at the first start.")
    device: str = Field(default="auto", description="auto, cpu, mps or cuda.")
    generate_batch_size: int = Field(default=64, ge=1, description="Rows generated at the same time.")
    generation_api_key: str = Field(
        default="", repr=False, description="Key for servers that generate, where they ask for one."
    )
    generation_concurrency: int = Field(
        default=8, ge=1, le=256, description="Responses that a server is asked for at the same time."
    )
    generation_timeout_seconds: float = Field(
        default=600.0, gt=0, description="How long a response of a server is waited for."
    )
    generation_retry_seconds: float = Field(
        default=1.0, gt=0, description="Wait before a server is asked again for a response; doubled each time."
    )
    heartbeat_seconds: float = Field(default=5.0, gt=0, description="How often a running job says it is alive.")
    stale_seconds: float = Field(
        default=60.0, gt=0, description="Silence after which a job is given to another worker."
    )
    sweep_seconds: float = Field(default=15.0, gt=0, description="How often a worker looks for such jobs.")
    ballot_lease_seconds: float = Field(default=3600.0, gt=0, description="How long an open ballot keeps its slot.")
    undo_seconds: float = Field(default=120.0, gt=0, description="Grace time in which a vote can be taken back.")
    session_days: float = Field(default=30.0, gt=0, description="How long a sign-in lasts.")
    limit_sign_in: str = Field(
        default="10/minute; 60/hour", description="Passwords tried for one name from one address."
    )
    limit_sign_in_name: str = Field(
        default="60/minute; 600/hour", description="Passwords tried for one name, wherever from."
    )
    limit_sign_in_address: str = Field(
        default="60/minute; 600/hour", description="Passwords and links tried from one address."
    )
    limit_join: str = Field(default="120/minute; 1000/hour", description="Invites tried from one address.")
    limit_vote: str = Field(default="600/minute", description="Votes, skips and undos of one account.")
    limit_api: str = Field(default="600/minute", description="API requests of one token.")
    judge_timeout_seconds: float = Field(default=120.0, gt=0, description="How long a judge's reply is waited for.")
    judge_concurrency: int = Field(default=4, ge=1, le=64, description="Calls to one judge's model at the same time.")
    judge_retry_seconds: float = Field(
        default=1.0, gt=0, description="Wait before a judge's call that failed is sent again; doubled each time."
    )
    judge_poll_seconds: float = Field(default=30.0, gt=0, description="How often a batch of judge calls is looked at.")
    anthropic_api_key: str = Field(
        default="", validation_alias="ANTHROPIC_API_KEY", repr=False, description="Key for judges at Anthropic."
    )
    anthropic_base_url: str = Field(
        default="",
        validation_alias="ANTHROPIC_BASE_URL",
        description="Where Anthropic's API is; empty: its own address.",
    )
    openai_api_key: str = Field(
        default="", validation_alias="OPENAI_API_KEY", repr=False,
        description="Key for judges at servers that speak chat completions, where they ask for one.",
    )  # fmt: skip
    live_poll_seconds: float = Field(default=0.5, gt=0, description="How often the page server looks for changes.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    log_format: Literal["console", "json"] = Field(default="console", description="json for log collectors.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        """Workers and the page run elsewhere than the command that starts them."""
        return home.expanduser().resolve()

    @field_validator(
        "limit_sign_in", "limit_sign_in_name", "limit_sign_in_address", "limit_join", "limit_vote", "limit_api"
    )
    @classmethod
    def _limit(cls, text: str) -> str:
        """``10/minute; 60/hour``, or empty: no limit."""
        if text.strip():
            try:
                parse_many(text)
            except ValueError as error:
                raise ValueError("it reads like 10/minute or 10/minute; 60/hour, and empty means no limit") from error
        return text.strip()

    @field_validator("database_url")
    @classmethod
    def _absolute_file(cls, url: str) -> str:
        """The same for an SQLite file."""
        start = "sqlite:///"
        path = url.removeprefix(start)
        return f"{start}{Path(path).resolve()}" if url.startswith(start) and path else url

    @property
    def database(self) -> str:
        """The database URL in force. SQLAlchemy form."""
        return self.database_url or f"sqlite:///{self.home / 'arena.db'}"

    @property
    def pulse_seconds(self) -> float:
        """How often a running job and a worker say that they are alive: well before anybody misses them."""
        return min(self.heartbeat_seconds, self.stale_seconds / 3)

    def hand_on(self) -> None:
        """Let the processes that this one starts find the same places, wherever they run."""
        os.environ["ARENA_HOME"] = str(self.home)
        if self.database_url:
            os.environ["ARENA_DATABASE_URL"] = self.database_url

    @property
    def artifacts(self) -> Path:
        """Folder of datasets, base models, runs and checkpoints."""
        return self.home / "artifacts"

    @property
    def broker_folder(self) -> Path:
        """Folder of the embedded broker's message files."""
        return self.home / "broker"

    def secret_key(self) -> bytes:
        """Key for seals: the setting, else a file readable by its owner alone, made at first use."""
        if self.secret:
            return self.secret.encode()
        path = self.home / "secret.key"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            candidate = path.with_suffix(f".{secrets.token_hex(4)}")
            candidate.touch(mode=0o600)
            candidate.write_text(secrets.token_hex(32))
            try:
                path.hardlink_to(candidate)  # fails if another process was first: its key stays
            except FileExistsError:
                pass
            finally:
                candidate.unlink()
        return path.read_bytes()


def load_settings() -> Settings:
    """Read the environment once more.

    Raises:
        BadInputError: a variable has a value that cannot be used; names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        name = f"ARENA_{name}" if name.lower() in Settings.model_fields else name
        raise BadInputError(f"{name} cannot be used: {first['msg']}. Change it and start again.") from error


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process."""
    return load_settings()
