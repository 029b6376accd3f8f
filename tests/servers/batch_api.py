"""The files and batches endpoints, in front of the loopback chat endpoint.

In a test::

    with BatchServer() as server:
        server.looks = 2  # a batch is done at the second look
        server.ends = lambda line: EXPIRED if "slow" in str(line) else None
        ...  # talk to server.url
        assert len(server.batches) == 1
"""

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.servers.chat_api import ChatServer, Json, answer
from tests.servers.chat_api import _reset as reset

EXPIRED: Json = {"response": None, "error": {"code": "batch_expired", "message": "Too late"}}
REFUSED: Json = {
    "response": {"status_code": 400, "body": {"error": {"code": "context_length_exceeded"}}},
    "error": None,
}
NO_COMPLETION: Json = {"response": {"status_code": 200, "body": {"choices": []}}, "error": None}


class BatchServer(ChatServer):
    """A chat server that also takes batches; their calls never wait and are no ``requests``."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Json] = {}
        self.takes_batches = True
        self.looks = 1
        """The look at which a batch is done."""
        self.status = "completed"
        """How batches end."""
        self.ends: Callable[[Json], Json | None] = lambda line: None
        """What becomes of a line of input; None is a completion."""
        self.on: Callable[[str], object] = lambda step: None
        """Told of each step, as it begins (``create``) and before its answer (``created``)."""
        self.lost = 0
        """How many batches are still to be created without the client hearing of it."""
        self.down = 0
        """How many looks are still to be met with a 500."""

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        match [http.method, *http.path.removeprefix("/v1/").split("/")]:
            case ["POST", "files"] if not self.takes_batches:
                return web.Response(status=404, body=b'{"error": {"message": "no such page"}}')
            case ["POST", "files"]:
                return await self._upload(http)
            case ["GET", "files", file, "content"]:
                self.on("download_errors" if file.startswith("errors") else "download")
                return web.Response(body=self.files[file])
            case ["POST", "batches"]:
                return await self._create(http)
            case ["GET", "batches"]:
                return self._list(http)
            case ["GET", "batches", batch]:
                return self._look(batch)
        return await super()._answer(http)

    async def _upload(self, http: web.BaseRequest) -> web.StreamResponse:
        self.on("upload")
        fields: dict[str, bytes] = {}
        reader = await http.multipart()
        while (part := await reader.next()) is not None:
            fields[str(getattr(part, "name", ""))] = await part.read()  # type: ignore[union-attr]
        assert fields["purpose"] == b"batch"
        name = f"file-{len(self.files)}"
        self.files[name] = fields["file"]
        self.on("uploaded")
        return _json({"id": name, "object": "file", "purpose": "batch", "bytes": 0} | _FILE)

    async def _create(self, http: web.BaseRequest) -> web.StreamResponse:
        self.on("create")
        body = json.loads(await http.read())
        assert (body["endpoint"], body["completion_window"]) == ("/v1/chat/completions", "24h")
        batch: Json = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "created_at": 2_000_000_000,
            "status": "in_progress",
            "looked": 0,
            **body,
        }
        self.batches[batch["id"]] = batch
        self.on("created")
        if self.lost:
            self.lost -= 1
            return reset(http)
        return _json(batch)

    def _list(self, http: web.BaseRequest) -> web.StreamResponse:
        self.on("list")
        newest = list(reversed(self.batches.values()))
        after = http.query.get("after")
        if after:
            newest = newest[[batch["id"] for batch in newest].index(after) + 1 :]
        page = newest[:2]  # so that clients have to turn pages
        more = len(newest) > len(page)
        return _json({"object": "list", "data": page, "has_more": more})

    def _look(self, name: str) -> web.StreamResponse:
        self.on("look")
        if self.down:
            self.down -= 1
            return web.Response(status=500, body=b'{"error": {"message": "down"}}')
        if name not in self.batches:
            return web.Response(status=404, body=b'{"error": {"message": "no such batch"}}')
        batch = self.batches[name]
        batch["looked"] += 1
        if batch["looked"] >= self.looks and batch["status"] == "in_progress":
            self._finish(batch)
        return _json(batch)

    def _finish(self, batch: Json) -> None:
        batch["status"] = self.status
        if self.status == "failed":
            error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            batch["errors"] = {"object": "list", "data": [error]}
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        done: dict[str, list[Json]] = {"output": [], "errors": []}
        for line in reversed(lines):  # they come in no order
            end = self.ends(line)
            if end is None:
                body = answer(line["body"], self.reply(line["body"]["messages"]))
                end = {"response": {"status_code": 200, "body": body}, "error": None}
            status = (end["response"] or {}).get("status_code")
            done["output" if status == 200 else "errors"].append(
                {"custom_id": line["custom_id"], **end}
            )
        for kind, field in (("output", "output_file_id"), ("errors", "error_file_id")):
            if done[kind]:
                batch[field] = f"{kind}-{batch['id']}"
                self.files[batch[field]] = b"".join(
                    json.dumps(row).encode() + b"\n" for row in done[kind]
                )
        counts = {"completed": len(done["output"]), "failed": len(done["errors"])}
        batch["request_counts"] = {"total": len(lines), **counts}


_FILE: Json = {"created_at": 0, "filename": "requests.jsonl", "status": "processed"}


def _json(body: Any) -> web.Response:
    return web.json_response(body)
