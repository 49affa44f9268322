"""A provider by its kind."""

from app.domain.errors import BadInputError
from app.domain.terms import ProviderKind
from app.providers.anthropic import BASE_URL, AnthropicProvider
from app.providers.calls import Provider
from app.providers.openai_compatible import OpenAICompatibleProvider


def connect(kind: ProviderKind, *, key: str = "", base_url: str = "", timeout_seconds: float = 120.0) -> Provider:
    """The provider of a judge. An empty address is Anthropic's own.

    Raises:
        MissingKeyError: Anthropic's API without a key.
        WrongKeyError: a key that cannot be one.
        BadInputError: an address that is none, or a judge whose words were imported.
    """
    if kind is ProviderKind.IMPORTED:
        raise BadInputError("What an imported judge said is here; there is nobody to ask. Add a judge of your own.")
    if kind is ProviderKind.ANTHROPIC:
        return AnthropicProvider(key, base_url or BASE_URL, timeout_seconds)
    return OpenAICompatibleProvider(base_url, key, timeout_seconds)
