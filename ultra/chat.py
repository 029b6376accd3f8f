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


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as the server counted them; 0 where it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Completion:
    """What a model said. ``model`` is the server's own name for it.

    ``finish_reason`` is ``stop``, ``length``, ``content_filter`` or what else the server says;
    ``logprobs`` maps candidate first tokens to log-probabilities where they were asked for.
    """

    text: str
    finish_reason: str
    model: str
    usage: Usage = field(default_factory=Usage)
    logprobs: dict[str, float] = field(default_factory=dict)


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
        SettingError: on creation, if the cloud endpoint is meant and no key is set.
    """

    def __init__(self, name: str, base_url: str = "", timeout: float = 600.0) -> None:
        self.name = name
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL", "")
        if not self.base_url and not os.environ.get("OPENAI_API_KEY"):
            raise SettingError(
                f"model {name}: set OPENAI_API_KEY, or --base-url (OPENAI_BASE_URL) "
                "for an endpoint of your own"
            )
        self._timeout = timeout
        self._client: AsyncOpenAI | None = None

    @property
    def identity(self) -> str:
        return f"openai {self.endpoint} {self.name}"

    @property
    def endpoint(self) -> str:
        """Host, port and path of the endpoint; without user, password or query."""
        url = urlsplit(self.base_url or "https://api.openai.com/v1")
        port = f":{url.port}" if url.port else ""
        return f"{url.hostname}{port}{url.path}"

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        import openai

        try:
            answer = await self._open().chat.completions.create(**self._body(messages, sampling))
        except (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
        ) as error:
            raise ModelError(f"model {self.name} at {self.endpoint}: {_say(error)}") from error
        except openai.APITimeoutError as error:
            raise CallError(f"model {self.name}: no answer in {self._timeout:g} s") from error
        except openai.APIConnectionError as error:
            raise ModelError(
                f"model {self.name}: cannot reach {self.endpoint} "
                f"({error.__cause__ or error}); is the server up and --base-url right?"
            ) from error
        except openai.RateLimitError as error:
            raise ModelError(f"model {self.name} at {self.endpoint}: {_say(error)}") from error
        except openai.OpenAIError as error:
            raise CallError(f"model {self.name}: {_say(error)}") from error
        return self._read(answer)

    def _open(self) -> "AsyncOpenAI":
        if self._client is None:
            from openai import AsyncOpenAI

            # An endpoint of one's own often takes any key, but the client insists on one.
            key = os.environ.get("OPENAI_API_KEY") or "none"
            self._client = AsyncOpenAI(
                api_key=key, base_url=self.base_url or None, timeout=self._timeout, max_retries=4
            )
        return self._client

    def _body(self, messages: list[Message], sampling: Sampling) -> dict[str, Any]:
        # The cloud's newer models refuse max_tokens; other servers know nothing else.
        limit = "max_tokens" if self.base_url else "max_completion_tokens"
        return {
            "model": self.name,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed + sampling.sample,
            limit: sampling.max_tokens,
        }

    def _read(self, answer: Any) -> Completion:
        choices = getattr(answer, "choices", None)
        if not choices:
            raise CallError(f"model {self.name}: the endpoint answered without a choice")
        choice = choices[0]
        usage = getattr(answer, "usage", None)
        return Completion(
            text=jsonl.scrub(choice.message.content or ""),
            finish_reason=jsonl.scrub(choice.finish_reason or ""),
            model=jsonl.scrub(answer.model or self.name),
            usage=Usage(
                getattr(usage, "prompt_tokens", 0) or 0,
                getattr(usage, "completion_tokens", 0) or 0,
            ),
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _say(error: Exception) -> str:
    """What the endpoint said, on one line, and never the key that it may quote."""
    text = " ".join(str(getattr(error, "message", "") or error).split())
    key = os.environ.get("OPENAI_API_KEY")
    return text.replace(key, "***")[:300] if key else text[:300]
