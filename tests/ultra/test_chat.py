import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.conftest import ROOT
from tests.servers import chat_api
from tests.servers.chat_api import ChatServer, Fault
from ultra.chat import Completion, OpenAIChat, Sampling, Usage
from ultra.errors import CallError, ModelError, PassingError, SettingError, UltraError
from ultra.schema import Message

KEY = "sk-never-shown-0123456789"
HI: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


def ask(
    url: str, sampling: Sampling | None = None, timeout: float = 60.0, times: int = 1
) -> Completion:
    async def run() -> Completion:
        model = OpenAIChat("m", url, timeout)
        try:
            for _ in range(times):
                said = await model.complete(HI, sampling or Sampling())
            return said
        finally:
            await model.close()

    return asyncio.run(run())


def closed_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


# What is sent, and what is read.


def test_an_endpoint_with_a_key_of_its_own_gets_that(
    server: ChatServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(server.url)
    monkeypatch.setenv("OPENAI_API_KEY_127_0_0_1", "own")
    ask(server.url)
    assert [one.authorization for one in server.requests] == [f"Bearer {key}", "Bearer own"]


def test_an_answer_is_read_whole(server: ChatServer) -> None:
    server.reply = lambda messages: f"é\u2028😀 {messages[-1]['content']}"
    assert ask(server.url) == Completion("é\u2028😀 Hi", "stop", "m", Usage(3, 3, 1))


def test_half_a_surrogate_pair_in_an_answer_is_replaced(server: ChatServer) -> None:
    server.fail(Fault(raw=b'{"choices": [{"message": {"content": "a\\ud83d b"}}]}'))
    assert ask(server.url).text == "a\ufffd b"


def test_the_request_is_what_the_sampling_says(server: ChatServer, key: str) -> None:
    ask(server.url, Sampling(temperature=0.25, top_p=0.5, max_tokens=7, seed=40, sample=2))
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.authorization == f"Bearer {key}"
    assert request.body == {
        "model": "m",
        "messages": HI,
        "temperature": 0.25,
        "top_p": 0.5,
        "max_tokens": 7,
        "seed": 40 + 2 * 104_729,
    }


def test_the_server_is_told_nothing_of_this_machine(server: ChatServer) -> None:
    ask(server.url)
    sent = {name.lower() for name in server.requests[0].headers}
    assert not {name for name in sent if name.startswith("x-")}
    assert {"authorization", "content-type"} < sent


def test_every_draw_has_a_seed_of_its_own() -> None:
    draws = [Sampling(seed=seed, sample=sample).draw for seed in range(50) for sample in range(50)]
    assert len(set(draws)) == len(draws)
    assert Sampling(seed=5).draw == 5
    assert Sampling(seed=2**31 - 1, sample=1).draw == 104_728


def test_the_cloud_is_asked_with_its_own_name_for_the_limit(
    server: ChatServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = openai.AsyncOpenAI

    def redirected(**options: Any) -> openai.AsyncOpenAI:
        assert options["base_url"] == "https://api.openai.com/v1"
        return real(**options | {"base_url": server.url})

    monkeypatch.setattr("openai.AsyncOpenAI", redirected)
    ask("", Sampling(max_tokens=7))
    body = server.requests[0].body
    assert body["max_completion_tokens"] == 7
    assert "max_tokens" not in body


def test_the_endpoint_may_come_from_the_environment(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert ask("").finish_reason == "stop"
    assert server.requests[0].body["max_tokens"] == 1024


def test_an_endpoint_of_ones_own_needs_no_key(server: ChatServer) -> None:
    ask(server.url)
    assert server.requests[0].authorization == "Bearer none"


def test_the_cloud_without_a_key_is_a_setting_error() -> None:
    with pytest.raises(SettingError, match=r"model gpt: set OPENAI_API_KEY, or --base-url"):
        OpenAIChat("gpt")


def test_a_closed_model_may_be_used_again(server: ChatServer) -> None:
    async def run() -> None:
        model = OpenAIChat("m", server.url)
        for _ in range(2):
            await model.complete(HI, Sampling())
            await model.close()
        await model.close()

    asyncio.run(run())
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "text", "finish"),
    [
        (chat_api.NULL_CONTENT, "", "stop"),
        (chat_api.CUT_SHORT, "Hello", "length"),
        (chat_api.FILTERED_ANSWER, "Hello", "content_filter"),
    ],
)
def test_an_odd_answer_is_an_answer(
    fault: Fault, text: str, finish: str, server: ChatServer
) -> None:
    server.reply = lambda messages: "Hello"
    server.fail(fault)
    said = ask(server.url)
    assert (said.text, said.finish_reason) == (text, finish)


@pytest.mark.parametrize("missing", ["usage", "model", "id", "created", "object"])
def test_what_a_small_server_leaves_out_is_made_good(missing: str, server: ChatServer) -> None:
    server.fail(Fault(change=lambda answer: {k: v for k, v in answer.items() if k != missing}))
    said = ask(server.url)
    assert said.model == "m"
    assert said.usage == (Usage() if missing == "usage" else Usage(3, 4, 1))


# Reasoning and log probabilities.


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>\nHm.\n</think>\n\nYes", "Yes", "Hm."),
        ("Hm.</think>Yes", "Yes", "Hm."),
        ("<think>Hm", "", "Hm"),
        ("a <think> b </think> c", "a <think> b </think> c", ""),
        ("plain", "plain", ""),
    ],
)
def test_what_a_model_thinks_aloud_is_not_its_answer(
    content: str, text: str, reasoning: str, server: ChatServer
) -> None:
    server.reply = lambda messages: content
    said = ask(server.url)
    assert (said.text, said.reasoning) == (text, reasoning)


def test_a_field_of_reasoning_is_kept_apart(server: ChatServer) -> None:
    server.fail(chat_api.thinking("Hm.", "Yes"))
    said = ask(server.url)
    assert (said.text, said.reasoning) == ("Yes", "Hm.")


def test_log_probabilities_come_where_they_are_asked_for(server: ChatServer) -> None:
    server.reply = lambda messages: "A wins"
    said = ask(server.url, Sampling(top_logprobs=2))
    assert [list(top) for top in said.logprobs] == [["A", "other1"], ["wins", "other1"]]
    assert said.logprobs[0]["A"] == pytest.approx(-0.6931, abs=1e-4)
    assert ask(server.url).logprobs == []
    assert "logprobs" not in server.requests[1].body


# What goes wrong.


NO_COMPLETION = "its answer is no chat completion ("
REFUSALS = [
    (chat_api.BAD_KEY, ModelError, "", "Incorrect API key"),
    (chat_api.refusal(403, "forbidden", "KEY has no access"), ModelError, "", "has no access"),
    (chat_api.UNKNOWN_MODEL, ModelError, "", "does not exist"),
    (chat_api.QUOTA, ModelError, "", "exceeded your current quota"),
    (Fault(301, raw=b""), ModelError, "", "HTTP status 301"),
    (chat_api.FILTERED_PROMPT, CallError, "content_filter", "filtered by policy"),
    (chat_api.CONTEXT_LENGTH, CallError, "context_length", "longer than the context"),
    (
        chat_api.refusal(400, "BadRequestError", "This model's maximum context length is 9"),
        CallError,
        "context_length",
        "maximum context length",
    ),
    (chat_api.refusal(400, "odd", "Bad\n value: KEY"), CallError, "refused", "Bad value: ***"),
]
PASSING = [
    (chat_api.RATE_LIMITED, "limited", "no_answer", "Rate limit reached"),
    (chat_api.SERVER_ERROR, "refused", "no_answer", "had an error"),
    (Fault(502, raw=b"<html>\n<body>Bad gateway</body>"), "refused", "no_answer", "502"),
    (chat_api.RESET, "broken", "no_answer", "the connection broke"),
    (chat_api.RESET_IN_BODY, "broken", "no_answer", "the connection broke"),
    *(
        (fault, "broken", "not_a_completion", NO_COMPLETION)
        for fault in (
            chat_api.NO_CHOICE,
            chat_api.NOT_JSON,
            Fault(raw=b"null"),
            Fault(raw=b"<html>Welcome</html>"),
            Fault(raw=b""),
            Fault(raw=b"[" * 2000),
            Fault(raw=b"[" * 200_000),
            Fault(raw=b"\xff\xfe"),
            Fault(change=lambda answer: answer | {"choices": [{}]}),
            Fault(change=lambda answer: answer | {"choices": [None]}),
            Fault(change=lambda answer: answer | {"choices": 1}),
            Fault(change=lambda answer: answer | {"model": 1}),
            Fault(change=lambda answer: answer | {"choices": [{"message": {"content": 1}}]}),
        )
    ),
]


def failure(server: ChatServer, fault: Fault, key: str, timeout: float = 60.0) -> UltraError:
    """What a call raises that meets the fault, after a check of what every message promises."""
    server.fail(fault)
    with pytest.raises(UltraError) as caught:
        ask(server.url, timeout=timeout)
    message = str(caught.value)
    assert message.startswith(f"model m at {server.url}: ")
    assert "\n" not in message
    assert key not in message
    assert len(server.requests) == 1  # who tries again, and when, is for the engine to say
    return caught.value


@pytest.mark.parametrize(("fault", "kind", "reason", "part"), REFUSALS)
def test_a_refusal_is_one_clear_line(
    fault: Fault, kind: type[UltraError], reason: str, part: str, server: ChatServer, key: str
) -> None:
    error = failure(server, fault, key)
    assert type(error) is kind
    assert part in str(error)
    assert getattr(error, "reason", "") == reason


@pytest.mark.parametrize(("fault", "kind", "reason", "part"), PASSING)
def test_what_may_pass_says_so(
    fault: Fault, kind: str, reason: str, part: str, server: ChatServer, key: str
) -> None:
    error = failure(server, fault, key)
    assert isinstance(error, PassingError)
    assert (error.kind, error.reason) == (kind, reason)
    assert part in str(error)


def test_an_answer_that_does_not_come_in_time_may_pass(server: ChatServer, key: str) -> None:
    error = failure(server, chat_api.HANG, key, timeout=0.05)
    assert isinstance(error, PassingError)
    assert str(error).endswith("no answer in 0.05 s")
    assert error.kind == "broken"


def test_an_endpoint_that_is_down_says_so() -> None:
    url = closed_url()
    where = re.escape(f"model m at {url}: cannot be reached (")
    with pytest.raises(PassingError, match=rf"^{where}.+\); is it up, and --base-url") as caught:
        ask(url)
    assert caught.value.kind == "unreachable"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("1e9", 600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 9015 07:28:00 GMT", 600.0),
    ],
)
def test_a_server_says_when_to_come_again(
    header: str, seconds: float, server: ChatServer, key: str
) -> None:
    error = failure(server, chat_api.rate_limited(header), key)
    assert isinstance(error, PassingError)
    assert error.after == seconds


# What nobody may see, and what tells endpoints apart.


@pytest.mark.parametrize(
    "url",
    [
        "http://anna:secret@h/v1",
        "http://anna@h/v1",
        "http://:secret@h/v1",
        "http://h/v1?token=hidden",
        "//anna:secret@h/v1",
        "http://anna:secret@[h/v1",
    ],
)
@pytest.mark.parametrize("given", ["flag", "environment"])
def test_an_address_with_a_secret_is_refused_and_never_shown(
    url: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given == "environment":
        monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(SettingError, match="put the key into OPENAI_API_KEY") as caught:
        OpenAIChat("m", url if given == "flag" else "")
    assert not re.search("anna|secret|hidden", str(caught.value))


def test_the_identity_is_endpoint_and_name(key: str) -> None:
    assert OpenAIChat("m", "http://h:1/v1/").identity == "openai http://h:1/v1 m"
    assert OpenAIChat("m").identity == "openai https://api.openai.com/v1 m"


def test_the_identity_tells_endpoints_and_models_apart(key: str) -> None:
    identities = {
        OpenAIChat(name, url).identity
        for name in ("a", "b")
        for url in ("", "http://h/v1", "http://h:1/v1", "http://h:1/v2", "http://g:1/v1")
    }
    assert len(identities) == 10
    assert not any(key in identity for identity in identities)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:0/v1",
        "http://h:abc/v1",
        "http://[::1/v1",
        "http:///v1",
        "ftp://h/v1",
    ],
)
def test_an_address_that_is_none_is_a_setting_error(url: str) -> None:
    with pytest.raises(SettingError, match=re.escape(url)):
        OpenAIChat("m", url)


def test_a_key_that_no_header_can_carry_is_a_setting_error(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-clé")
    with pytest.raises(SettingError, match="OPENAI_API_KEY"):
        ask(server.url)


# The loopback server itself.


def test_the_server_runs_as_a_process_of_its_own() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.servers.chat_api", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert ask(process.stdout.readline().strip(), times=2).text.endswith("to: Hi")
        finally:
            process.terminate()


@pytest.mark.parametrize(
    "odd", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"max_tokens": 0}]
)
def test_sampling_that_no_model_can_do_is_refused(odd: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="sampling"):
        Sampling(**odd)  # type: ignore[arg-type]
