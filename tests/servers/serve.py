"""``transformers serve`` with a checkpoint on the CPU, on this machine's loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

_PATIENCE = 120.0


@contextmanager
def serving(checkpoint: Path, folder: Path) -> Iterator[str]:
    """The server's base URL; the model's name there is that of the checkpoint's folder.

    ``folder`` is for the server's log and cache. Skips the test where the extra is not installed.
    """
    for needed in ("fastapi", "uvicorn"):
        pytest.importorskip(needed, reason="transformers serve needs the extra 'serve'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    words = [str(program), "serve", checkpoint.name, "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home")}
    log = folder / "serve.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            words, cwd=checkpoint.parent, env=environment, stdout=output, stderr=output
        ) as server,
    ):
        try:
            _wait_for(port, server, log)
            yield f"http://localhost:{port}/v1"
        finally:
            server.kill()


def _wait_for(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            with closing(HTTPConnection("localhost", port, timeout=5)) as asked:
                asked.request("GET", "/health")
                with asked.getresponse() as answer:
                    if answer.status == 200:
                        return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"transformers serve did not start: {log.read_text()[-2000:]}")
