"""The one seam to a chat model: messages and sampling in, one completion out."""

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import orjson

from ultra import chat_answers, jsonl
from ultra.errors import CallError, ModelError, PassingError, SettingError, UltraError
from ultra.schema import Message

if TYPE_CHECKING:  # importing openai costs a second that --help and a resumed run do not need
    import httpx2
    from openai import AsyncOpenAI


CLOUD = "https://api.openai.com/v1"
CONNECT_SECONDS = 60.0
LIMITED, UNREACHABLE, REFUSED, BROKEN = "limited", "unreachable", "refused", "broken"


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
    top_logprobs: int = 0
    """How many log probabilities to ask for with each token; 0 asks for none."""

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
    cached_tokens: int = 0
    """Those of ``prompt_tokens`` that the server had in its cache."""


@dataclass(frozen=True)
class Completion:
    """What a model said. ``model`` is the server's own name for it.

    ``finish_reason`` is ``stop``, ``length``, ``content_filter`` or what else the server says.
    ``logprobs`` has for each token of the answer the likeliest ones and their log probabilities
    (natural), where the sampling asks for them. ``reasoning`` is what the model thought aloud; it
    is never part of ``text``. ``usd`` is what the call cost in US dollars when it was paid for, as
    the journal has it: 0 on this machine, None where no price was known.
    """

    text: str
    finish_reason: str
    model: str
    usage: Usage = field(default_factory=Usage)
    logprobs: list[dict[str, float]] = field(default_factory=list)
    reasoning: str = ""
    usd: float | None = None


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
    """Any OpenAI-compatible endpoint.

    The key comes from the environment and goes nowhere else: from ``OPENAI_API_KEY_`` and the
    endpoint's host (``OPENAI_API_KEY_API_EXAMPLE_COM``) if that is set, so that two endpoints can
    have two keys, else from ``OPENAI_API_KEY``.

    Each call is tried once; the engine decides what is tried again. The openai package configures
    and authenticates. Requests go through the aiohttp client that it offers, as bytes: building and
    checking them message by message, as ``chat.completions.create`` does, takes 7 times the CPU.
    What the package would tell of this machine (``X-Stainless-*`` headers) is left out.

    Args:
        name: the model's name at the endpoint.
        base_url: by default ``OPENAI_BASE_URL``, else OpenAI's own.
        timeout: seconds to wait for an answer.

    Raises:
        SettingError: on creation, if the endpoint is no address, or needs a key that is not set.
    """

    def __init__(self, name: str, base_url: str = "", timeout: float = 600.0) -> None:
        self.name = name
        self._url = _endpoint(base_url or os.environ.get("OPENAI_BASE_URL", "") or CLOUD)
        self._key = _key(self._url)
        if self._url == CLOUD and not self._key:
            raise SettingError(
                f"model {name}: set OPENAI_API_KEY, or --base-url (OPENAI_BASE_URL) "
                "for an endpoint of your own"
            )
        if not self._key.isascii():
            raise SettingError("OPENAI_API_KEY: holds a character that no key has; copy it again")
        self._timeout = timeout
        self._place = f"model {name} at {self._url}"
        self._opened: tuple[AsyncOpenAI, httpx2.AsyncClient] | None = None
        self._completions: httpx2.URL | str = ""
        self._headers = dict[str, str]()

    @property
    def identity(self) -> str:
        return f"openai {self._url} {self.name}"

    def client(self) -> "AsyncOpenAI":
        """The openai package's client of this endpoint, for all but completions."""
        return self._open()[0]

    def _open(self) -> "tuple[AsyncOpenAI, httpx2.AsyncClient]":
        if self._opened is None:
            import httpx2
            import openai

            # Connecting may wait for the CPU while hundreds of calls start. What is idle for as
            # long as uvicorn keeps it open (5 s) would break just when it is used again.
            timeout = httpx2.Timeout(self._timeout, connect=CONNECT_SECONDS)
            sockets = httpx2.Limits(max_connections=0, keepalive_expiry=3.0)  # 0: no limit
            http = openai.DefaultAioHttpClient(timeout=timeout, limits=sockets)
            client = openai.AsyncOpenAI(
                # One's own endpoint takes any key, but the client wants one.
                api_key=self._key or "none",
                base_url=self._url,
                timeout=timeout,
                http_client=http,
            )
            headers = {**client.default_headers, **client.auth_headers}
            self._headers = {
                name: text
                for name, text in headers.items()
                if isinstance(text, str) and not name.lower().startswith("x-stainless-")
            }
            self._completions = httpx2.URL(f"{str(client.base_url).rstrip('/')}/chat/completions")
            self._opened = client, http
        return self._opened

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        """Answer the last message.

        Raises:
            PassingError: a later try may succeed.
            CallError: no later try of this call can.
            ModelError: no later call can.
        """
        import httpx2

        try:
            _, http = self._open()
            body = orjson.dumps(self.body(messages, sampling))
            request = httpx2.Request(
                "POST",
                self._completions,
                content=body,
                headers=self._headers,
                extensions={"timeout": http.timeout.as_dict()},
            )
            answer = await http.send(request)
        except httpx2.RequestError as error:
            raise self._lost(error) from error
        if answer.status_code != 200:
            raise self._refusal(answer)
        try:
            found = chat_answers.parse(answer.content)
        except (ValueError, RecursionError) as error:
            raise self._no_completion(str(error)) from error
        return self.read(found)

    def body(self, messages: list[Message], sampling: Sampling) -> dict[str, Any]:
        """The request as JSON."""
        # The cloud's newer models refuse max_tokens; other servers know nothing else.
        limit = "max_completion_tokens" if self._url == CLOUD else "max_tokens"
        body: dict[str, Any] = {
            "model": self.name,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.draw,
            limit: sampling.max_tokens,
        }
        if sampling.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
        return body

    def read(self, body: Any) -> Completion:
        """The completion in an answer, its reasoning apart from its text.

        Raises:
            PassingError: it holds none.
        """
        try:
            choice = body["choices"][0]
            message = choice["message"]
            text, reasoning = chat_answers.split_reasoning(message.get("content") or "")
            aloud = message.get("reasoning_content") or message.get("reasoning") or reasoning
            return Completion(
                text=jsonl.scrub(text),
                finish_reason=jsonl.scrub(choice.get("finish_reason") or ""),
                model=jsonl.scrub(body.get("model") or self.name),
                usage=Usage(*chat_answers.counts(body.get("usage"))),
                logprobs=chat_answers.top_logprobs(choice.get("logprobs")),
                reasoning=jsonl.scrub(aloud) if isinstance(aloud, str) else "",
            )
        except IndexError:
            raise self._no_completion("no choice") from None
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            raise self._no_completion(f"{type(error).__name__}: {error}") from error

    def _no_completion(self, why: str) -> PassingError:
        why = self._say(why)
        return PassingError(
            f"{self._place}: its answer is no chat completion ({why})", "not_a_completion", BROKEN
        )

    def _lost(self, error: Exception) -> PassingError:
        """What to say of a connection that gave no answer."""
        import aiohttp

        cause = error.__cause__ or error
        if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            why = self._say(str(cause) or type(cause).__name__)
            return PassingError(
                f"{self._place}: cannot be reached ({why}); is it up, and --base-url right?",
                "no_answer",
                UNREACHABLE,
            )
        if isinstance(cause, TimeoutError):
            return PassingError(
                f"{self._place}: no answer in {self._timeout:g} s", "no_answer", BROKEN
            )
        why = self._say(str(cause) or type(cause).__name__)
        return PassingError(f"{self._place}: the connection broke ({why})", "no_answer", BROKEN)

    def _refusal(self, answer: "httpx2.Response") -> UltraError:
        status = answer.status_code
        code, said = chat_answers.error(answer.content)
        message = f"{self._place}: {self._say(said) or f'HTTP status {status}'}"
        if status == 429 and code != "insufficient_quota":
            after = chat_answers.wait_seconds(answer.headers.get("retry-after", ""))
            return PassingError(message, "no_answer", LIMITED, after)
        if status in (408, 409, 425) or status >= 500:
            return PassingError(message, "no_answer", REFUSED)
        if status in (401, 403, 404, 429) or status < 400:
            return ModelError(message)
        if "context" in code or "maximum context length" in said or "too long" in said.lower():
            return CallError(message, "context_length")
        return CallError(message, "content_filter" if "content_" in code else "refused")

    def _say(self, text: str) -> str:
        """What went wrong on one line, and never the key that an endpoint may quote."""
        text = " ".join(jsonl.scrub(text[:2000]).split())
        return (text.replace(self._key, "***") if self._key else text)[:300]

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened[0].close()
            self._opened = None


def _key(url: str) -> str:
    host = re.sub(r"[^A-Z0-9]+", "_", (urlsplit(url).hostname or "").upper())
    own = os.environ.get(f"OPENAI_API_KEY_{host}", "")
    return own or os.environ.get("OPENAI_API_KEY", "")


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
