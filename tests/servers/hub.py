"""A small Hugging Face Hub on 127.0.0.1, with faults on demand, for the real clients.

In a test::

    with Hub(tmp_path) as hub:
        hub.faults.append(Fault("POST", r".*/commit/main", "500"))
        ...  # a process with HF_ENDPOINT=hub.url and HF_TOKEN=hub.token
        assert hub.tags("org/name") == {"v1.0.0": hub.commits("org/name")[0].id}

For another process: ``python -m tests.servers.hub --port 0 --folder DIR`` prints its address and
serves. Repositories lie in the folder and outlive the server, even a killed one; the tokens are
the same for every server, so that clients outlive it too.
"""

import argparse
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.servers.hub_api import answer
from tests.servers.hub_calls import Answer, Call, HubError, Site
from tests.servers.hub_store import Repository
from tests.servers.hub_writing import STALE
from tests.servers.loopback import LoopbackHandler, LoopbackServer

_ROLES = {"hf_loopbackWriteLoopbackWrite": "write", "hf_loopbackReadLoopbackRead": "read"}
Kind = Literal["429", "500", "412", "cut", "lost", "slow", "digest"]


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests of a method to a path.

    - "429", "500" and "412" refuse and do nothing, the first with ``Retry-After: seconds``.
    - "cut" ends the connection half way: in the midst of what is sent to the Hub, so that nothing
      is done, or, where the request has no body, in the midst of the answer.
    - "lost" does what was asked, and the connection breaks before a word of the answer.
    - "slow" waits ``seconds`` first.
    - "digest" changes a byte of what is answered, but not its length and the digest in the headers.
    """

    method: str
    path: str
    """A regular expression that the whole path matches; queries are not looked at."""
    kind: Kind
    times: int = 1
    seconds: float = 1.0


class Request(NamedTuple):
    """What a client asked for; the path with its query, and never the token."""

    method: str
    path: str


class HubCommit(NamedTuple):
    """One commit of a branch, with the paths of all files that are in it."""

    id: str
    message: str
    files: list[str]


class Hub(LoopbackServer):
    """Repositories in a folder, served over HTTP; use it as a context manager.

    All files are "regular" (in the commit itself, so that Xet is never used) unless ``lfs``.
    """

    token, read_token = _ROLES
    """Made up, and good for nothing anywhere else."""

    def __init__(self, folder: Path, lfs: bool = False, port: int = 0) -> None:
        super().__init__(_Handler, port)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.site = Site(folder, self.url, lfs)
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        """Those still to come; one that has come as often as it should is taken off."""
        self._fault_lock = threading.Lock()

    def repository(self, name: str, kind: str = "datasets") -> Repository:
        return Repository(self.site.path(kind, name))

    def commits(self, name: str, revision: str = "main") -> list[HubCommit]:
        """All commits before a revision and itself, newest first."""
        found = self.repository(name)
        return [
            HubCommit(
                commit.id,
                commit.message,
                [path for path, one in found.tree(commit.id).items() if not one.folder],
            )
            for commit in found.history(found.resolve(revision))
        ]

    def tags(self, name: str) -> dict[str, str]:
        """The commit of each tag."""
        return self.repository(name).refs("tags")

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The content of all files at a revision."""
        found = self.repository(name)
        entries = found.tree(found.resolve(revision))
        return {path: found.content(one) for path, one in entries.items() if not one.folder}

    def mirror(self, name: str, folder: Path) -> None:
        """Make or renew a bare git repository with all branches and tags of one of ours.

        Content in LFS stays behind: git holds only the pointers to it.
        """
        target, ours = str(folder.absolute()), str(self.repository(name).folder)
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", target], check=True)
        subprocess.run(["git", "-C", ours, "push", "--quiet", "--mirror", target], check=True)

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The first fault that is due for a request."""
        with self._fault_lock:
            for fault in self.faults:
                if fault.method == method and re.fullmatch(fault.path, path):
                    fault.times -= 1
                    if fault.times < 1:
                        self.faults.remove(fault)
                    return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that are killed; that is what the tests do to them."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(LoopbackHandler):
    server: Hub

    def _serve(self) -> None:
        if self.server.closing.is_set():  # a client may keep its connection for longer
            self._reset()
            return
        self.server.requests.append(Request(self.command, self.path))
        path = urlsplit(self.path).path
        fault = self.server.take_fault(self.command, path)
        kind = fault.kind if fault else ""
        if kind == "cut" and (size := int(self.headers.get("Content-Length", 0))):
            self.rfile.read(size // 2)
            self._reset()
            return
        body = self._body()
        if fault and kind == "slow":
            self.server.closing.wait(fault.seconds)
        reply = _refused(fault) or self._answer(path, body)
        if kind == "digest":
            reply = replace(reply, body=_changed(reply.body))
        if kind != "lost":
            self._send(reply, cut=kind == "cut")
        self.close_connection |= kind == "cut"
        if kind == "lost":
            self._reset()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def _answer(self, path: str, body: bytes) -> Answer:
        if "Transfer-Encoding" in self.headers:  # none of the clients sends without a length
            self.close_connection = True
            return HubError(411, "Length Required").answer
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in _ROLES:
            return HubError(401, "Invalid credentials in Authorization header").answer
        query = parse_qs(urlsplit(self.path).query)
        call = Call(self.server.site, _ROLES.get(token, ""), self.headers, query, body)
        return answer(call, self.command, path)

    def _body(self) -> bytes:
        """What was sent, whole.

        Raises:
            ConnectionError: the client is gone; half a commit is none, though its lines are whole.
        """
        body = self.rfile.read(size := int(self.headers.get("Content-Length", 0)))
        if len(body) < size:
            raise ConnectionError("the client cut the connection")
        return body

    def _send(self, reply: Answer, cut: bool) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if cut else reply.body)
        self.wfile.flush()

    def _reset(self) -> None:
        """Close as a dead machine does, and not as one that has said all."""
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)  # on, for no time: closing resets
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _changed(content: bytes) -> bytes:
    """Other content of the same length, near the end of which JSON has another last character."""
    at = len(content.rstrip(b'"]}\n')) - 1
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if at >= 0 else content


def _refused(fault: Fault | None) -> Answer | None:
    match fault:
        case Fault(kind="429"):
            wait = {"Retry-After": f"{fault.seconds:g}"}
            return HubError(429, "Too many requests", headers=wait).answer
        case Fault(kind="500"):
            return HubError(500, "Internal error").answer
        case Fault(kind="412"):
            return HubError(412, STALE).answer
        case _:
            return None


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=f"Loopback Hub; the token is {Hub.token}")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--lfs", action="store_true", help="keep larger files in LFS")
    options = parser.parse_args()
    server = Hub(options.folder, options.lfs, options.port)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
