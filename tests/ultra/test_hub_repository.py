"""Going on after a fault or with somebody else at work, and where the token goes."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from tests.servers.hub import Fault, Hub
from tests.ultra.conftest import REPO, release_of, row, run, send, start, state
from ultra.errors import OutputError

# Going on


def test_publishing_again_is_a_quiet_success(
    server: Hub, first: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(server, first)
    send(server, second)
    before = state(server)
    capsys.readouterr()
    send(server, first)
    assert state(server) == before
    assert capsys.readouterr() == ("org/talks: holds sharegpt 1.0.0 already, as v1.0.0\n", "")


def test_a_run_that_ended_between_commit_and_tag_is_finished(
    server: Hub, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults.append(Fault("POST", ".*/tag/.*", "500", times=3))
    with pytest.raises(OutputError, match="nothing is lost, run the same command again"):
        send(server, first)
    commits, tags = state(server)
    assert (len(commits), tags) == (2, {})
    capsys.readouterr()
    send(server, first)
    assert "  commit  none, for main has all files already" in capsys.readouterr().err
    assert state(server) == (commits, {"v1.0.0": commits[0]})


@pytest.mark.parametrize("kind", ["lost", "cut", "500", "429"])
@pytest.mark.parametrize("path", [".*/commit/.*", ".*/tag/.*", ".*/refs", ".*/create"])
def test_a_request_that_failed_is_made_again_and_nothing_twice(
    server: Hub, first: Path, kind: Any, path: str
) -> None:
    method = "GET" if path == ".*/refs" else "POST"
    server.faults.append(Fault(method, path, kind, seconds=0))
    send(server, first)
    commits, tags = state(server)
    assert (len(commits), tags) == (2, {"v1.0.0": commits[0]})
    assert server.faults == []


@pytest.mark.parametrize("kind", ["500", "429", "cut"])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_reading_what_is_there_is_tried_again(
    server: Hub, first: Path, second: Path, kind: Any, method: str
) -> None:
    send(server, first)
    server.faults.append(Fault(method, ".*/resolve/.*", kind, seconds=0))
    send(server, second)
    assert list(server.tags(REPO)) == ["v1.0.0", "v1.1.0"]
    assert server.faults == []


def test_a_rate_limit_is_waited_for(
    server: Hub, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.faults.append(Fault("POST", ".*/commit/.*", "429", seconds=7))
    send(server, first)
    assert waits == [7]


def test_a_hub_that_stays_away_ends_in_one_line(first: Path, server: Hub) -> None:
    nowhere = "http://127.0.0.1:9"
    with pytest.raises(OutputError, match=f"{nowhere}: does not answer as it should; nothing is"):
        send(server, first, endpoint=nowhere)


def test_two_who_publish_the_same_at_the_same_time_both_succeed(
    server: Hub, tmp_path: Path, first: Path
) -> None:
    server.faults += [Fault("POST", ".*/commit/.*", "slow", seconds=0.5) for _ in range(2)]
    both = [start(server, tmp_path / "home", first) for _ in range(2)]
    assert [(one.communicate()[0], one.returncode)[1] for one in both] == [0, 0]
    commits, tags = state(server)
    assert (len(commits), tags) == (2, {"v1.0.0": commits[0]})


def test_a_tag_that_somebody_else_sets_meanwhile_is_not_taken_for_ours(
    server: Hub, first: Path, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_repo(REPO, repo_type="dataset")
    create_tag = HfApi.create_tag

    def elsewhere(self: HfApi, repo: str, *, tag: str, revision: str, **options: Any) -> None:
        made = server.commits(REPO)[-1].id
        create_tag(self, repo, tag=tag, revision=made, repo_type="dataset")
        create_tag(self, repo, tag=tag, revision=revision, **options)

    monkeypatch.setattr(HfApi, "create_tag", elsewhere)
    with pytest.raises(OutputError, match=r"holds another sharegpt 1\.0\.0 .*raise the"):
        send(server, first)


# The token


def test_the_token_is_nowhere_but_in_the_header(server: Hub, tmp_path: Path, first: Path) -> None:
    home = tmp_path / "home"
    server.faults.append(Fault("POST", ".*/preupload/.*", "500"))
    server.faults.append(Fault("POST", ".*/commit/.*", "cut"))
    said = [run(server, home, first, HF_HUB_VERBOSITY="debug")]
    said.append(run(server, home, first, "--dry-run"))
    server.faults.append(Fault("POST", ".*/validate-yaml", "412"))
    said.append(run(server, home, release_of(tmp_path / "newer", [row(9)], "1.1.0")))
    said.append(run(server, home, first, HF_TOKEN=server.read_token))
    assert [code for code, _ in said] == [0, 0, 2, 2]
    written = [path for path in home.rglob("*") if path.is_file()]
    places = [text.encode() for _, text in said]
    places += [path.read_bytes() for path in written] + [repr(server.requests).encode()]
    places += [str(path).encode() for path in written]
    places += [content for files in server.files(REPO).items() for content in files[1:]]
    places += [commit.message.encode() for commit in server.commits(REPO)]
    for token in (server.token, server.read_token):
        assert not any(token.encode() in place for place in places)


def test_a_token_that_the_hub_repeats_is_blotted_out(
    server: Hub, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(self: HfApi, *args: Any, **options: Any) -> None:
        raise ValueError(f"who is {self.token}?")

    monkeypatch.setattr(HfApi, "whoami", echo)
    with pytest.raises(OutputError, match=r"who is \*\*\*\?") as caught:
        send(server, first)
    cause = (caught.value.__cause__, caught.value.__suppress_context__)
    assert cause == (None, True)  # nor does a traceback show what was caught
