"""What the servers on this machine have in common: they are context managers that end at once."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class LoopbackServer(ThreadingHTTPServer):
    """Serves on 127.0.0.1 from a thread of its own; port 0 takes a free one."""

    request_queue_size = 1024  # many connections may come at once
    daemon_threads = True  # a client that keeps its connection open keeps nobody waiting

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class LoopbackHandler(BaseHTTPRequestHandler):
    """Keeps connections open, and lets head and body of an answer leave in one piece."""

    protocol_version = "HTTP/1.1"
    wbufsize = 2**20
    disable_nagle_algorithm = True
