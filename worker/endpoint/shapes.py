"""What the API takes and what it says, in OpenAI's shapes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.sampling import Sampling

MOST_STOPS = 4
LONGEST_STOP = 200
_SEED = 2**63 - 1

_ONE_WAY: dict[str, tuple[Any, ...]] = {
    "n": (1,), "best_of": (1,), "echo": (False,), "suffix": ("",), "logprobs": (False, 0), "top_logprobs": (0,),
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "tools": ([],), "functions": ([],),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (), "prediction": (),
}  # fmt: skip
"""Settings that would change a response and that the engine does not have, with the values that ask for nothing."""


class Part(BaseModel):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    def plain(self) -> dict[str, str]:
        """As a chat template takes it."""
        role = "system" if self.role == "developer" else self.role
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": role, "content": text}


class StreamOptions(BaseModel):
    """What a stream tells beside the text."""

    include_usage: bool = False


class Settings(BaseModel):
    """What both ways to ask have in common. Unknown settings are left alone, as OpenAI's clients expect."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=300)
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-_SEED, le=_SEED)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_there(cls, data: Any) -> Any:
        """A setting that is passed over in silence would be a response to another question."""
        if isinstance(data, Mapping):
            for name, neutral in _ONE_WAY.items():
                if data.get(name) is not None and data[name] not in neutral:
                    raise ValueError(f"{name} is not supported here; leave it out")
        return data

    @model_validator(mode="after")
    def _few_stops(self) -> "Settings":
        stops = self.stops
        if len(stops) > MOST_STOPS or not all(0 < len(stop) <= LONGEST_STOP for stop in stops):
            raise ValueError(f"stop takes up to {MOST_STOPS} texts of 1 to {LONGEST_STOP} characters")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end a response."""
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def sampling(self, most: int) -> Sampling:
        """The settings of the engine; ``most`` tokens where none are asked for."""
        wanted = self.max_completion_tokens or self.max_tokens or most
        temperature = 1.0 if self.temperature is None else self.temperature
        return Sampling(temperature=temperature, top_p=self.top_p or 1.0, max_new_tokens=wanted)


class ChatRequest(Settings):
    """The body of ``/v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1, max_length=1000)


class TextRequest(Settings):
    """The body of ``/v1/completions``: a text that is continued, without the chat template."""

    prompt: str


class Shape:
    """How one response is written, whole or in pieces."""

    def __init__(self, *, chat: bool, id_: str, model: str, created: int, system_fingerprint: str) -> None:
        self._chat = chat
        self._head = {"id": id_, "created": created, "model": model, "system_fingerprint": system_fingerprint}

    def whole(self, text: str, finish_reason: str, usage: Mapping[str, int]) -> dict[str, Any]:
        """The response as one object."""
        content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}
        return self._head | {"object": self._object(""), "choices": [choice], "usage": dict(usage)}

    def first(self) -> dict[str, Any] | None:
        """What opens a stream: a chat says who speaks."""
        return self._chunk({"role": "assistant", "content": ""}, None) if self._chat else None

    def piece(self, text: str) -> dict[str, Any]:
        """More text."""
        return self._chunk({"content": text} if self._chat else text, None)

    def end(self, finish_reason: str) -> dict[str, Any]:
        """Why it ended."""
        return self._chunk({} if self._chat else "", finish_reason)

    def usage(self, usage: Mapping[str, int]) -> dict[str, Any]:
        """The tokens, after everything else, for who asked for them."""
        return self._head | {"object": self._object(".chunk"), "choices": [], "usage": dict(usage)}

    def _chunk(self, content: Any, finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta" if self._chat else "text": content, "logprobs": None}
        return self._head | {
            "object": self._object(".chunk"),
            "choices": [choice | {"finish_reason": finish_reason}],
        }

    def _object(self, ending: str) -> str:
        return f"chat.completion{ending}" if self._chat else "text_completion"


def usage_of(prompt_tokens: int, tokens: int) -> dict[str, int]:
    """Tokens that were read and written."""
    return {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens}


def error_of(message: str, kind: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
