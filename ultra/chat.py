"""The one seam to a chat model: messages and sampling in, one completion out."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ultra import jsonl
from ultra.errors import CallError, ModelError, SettingError
from ultra.schema import Message

if TYPE_CHECKING:  # importing openai costs a second that --help and a resumed run do not need
    from openai import AsyncOpenAI


CLOUD = "https://api.openai.com/v1"
RETRIES = 4
"""How often a call is tried again by the openai package before it counts as failed."""


@dataclass(frozen=True)
class Sampling:
    """How a completion is drawn. ``temperature`` 0 is greedy."""

    temperature: float = 0.7
    """Softmax temperature; 0 is greedy."""
    top_p: float = 1.0
    """Share of probability that is sampled from."""
    max_tokens: int = 1024
    """Longest completion, in tokens of the model."""
    seed: int = 0
    """Seed sent to the endpoint, where it takes one."""
    sample: int = 0
    """Which of several draws with the same sampling this is."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise SettingError(
                "sampling: temperature must be 0 or more, top_p above 0 and at most 1, "
                "max_tokens 1 or more"
            )

    @property
    def draw(self) -> int:
        """The seed of this one draw, as it is sent."""
        return (self.seed + 104_729 * self.sample) % 2**31


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as the server counted them; 0 where it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Completion:
    """What a model said. ``model`` is the server's own name for it.

    ``finish_reason`` is ``stop``, ``length``, ``content_filter`` or what else the server says.
    """

    text: str
    finish_reason: str
    model: str
    usage: Usage = field(default_factory=Usage)


class ChatModel(Protocol):
    """Anything that answers a list of messages."""

    @property
    def name(self) -> str:
        """What rows, cards and tables call it."""

    @property
    def identity(self) -> str:
        """What a journal calls it: another value whenever its answers could differ."""

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        """Answer the last message.

        Raises:
            CallError: this call failed for good.
            ModelError: no later call can succeed either.
        """

    async def close(self) -> None:
        """Let go of connections and memory."""


class OpenAIChat:
    """Any OpenAI-compatible endpoint. The key comes from ``OPENAI_API_KEY`` and goes nowhere else.

    Raises:
        SettingError: on creation, if the endpoint is no address, or needs a key that is not set.
    """

    def __init__(self, name: str, base_url: str = "", timeout: float = 600.0) -> None:
        self.name = name
        self._url = _endpoint(base_url or os.environ.get("OPENAI_BASE_URL", "") or CLOUD)
        self._key = os.environ.get("OPENAI_API_KEY", "")
        if self._url == CLOUD and not self._key:
            raise SettingError(
                f"model {name}: set OPENAI_API_KEY, or --base-url (OPENAI_BASE_URL) "
                "for an endpoint of your own"
            )
        if not self._key.isascii():
            raise SettingError("OPENAI_API_KEY: holds a character that no key has; copy it again")
        self._timeout = timeout
        self._client: AsyncOpenAI | None = None

    @property
    def identity(self) -> str:
        return f"openai {self._url} {self.name}"

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        import openai

        place = f"model {self.name} at {self._url}"
        try:
            answer = await self._open().chat.completions.create(**self._body(messages, sampling))
            return self._read(answer)
        except (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
            openai.RateLimitError,
        ) as error:
            raise ModelError(f"{place}: {self._say(error)}") from error
        except openai.APITimeoutError as error:
            tries = f"{RETRIES + 1} tries of {self._timeout:g} s"
            raise CallError(f"{place}: no answer in {tries}") from error
        except openai.APIConnectionError as error:
            why = self._say(error.__cause__ or error)
            raise ModelError(
                f"{place}: cannot be reached ({why}); is it up, and --base-url right?"
            ) from error
        except openai.OpenAIError as error:
            raise CallError(f"{place}: {self._say(error)}") from error
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            raise CallError(f"{place}: its answer is no chat completion ({error})") from error

    def _open(self) -> "AsyncOpenAI":
        if self._client is None:
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._key
                or "none",  # one's own endpoint takes any, but the client wants one
                base_url=self._url,
                timeout=self._timeout,
                max_retries=RETRIES,
            )
        return self._client

    def _body(self, messages: list[Message], sampling: Sampling) -> dict[str, Any]:
        # The cloud's newer models refuse max_tokens; other servers know nothing else.
        limit = "max_completion_tokens" if self._url == CLOUD else "max_tokens"
        return {
            "model": self.name,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.draw,
            limit: sampling.max_tokens,
        }

    def _read(self, answer: Any) -> Completion:
        choice = answer.choices[0] if answer.choices else None
        text = "" if choice is None else choice.message.content or ""
        if choice is None or not isinstance(text, str):
            raise ValueError("no choice" if choice is None else "its content is no text")
        tokens = (getattr(answer.usage, name, 0) for name in ("prompt_tokens", "completion_tokens"))
        return Completion(
            text=jsonl.scrub(text),
            finish_reason=jsonl.scrub(choice.finish_reason or ""),
            model=jsonl.scrub(answer.model or self.name),
            usage=Usage(*(count if type(count) is int else 0 for count in tokens)),
        )

    def _say(self, error: BaseException) -> str:
        """What went wrong on one line, and never the key that an endpoint may quote."""
        text = " ".join(str(getattr(error, "message", "") or error).split())
        return (text.replace(self._key, "***") if self._key else text)[:300]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _endpoint(address: str) -> str:
    """Check an address and bring it into one form.

    Raises:
        SettingError: it is none, or holds a user or password, which would end up in logs.
    """
    address = address.strip()
    if set("@?#") & set(address):
        raise SettingError(
            "base_url: holds a user, password or query; put the key into OPENAI_API_KEY"
        )
    try:
        url = urlsplit(address)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good or any(character.isspace() for character in address):
        raise SettingError(f"base_url: {address!r} is not like http://host:port/v1")
    return address.rstrip("/")
