"""A server of files for the tests, which can do all that goes wrong with a download."""

import http.server
import time
from typing import Any

import numpy as np

CONTENT = np.random.default_rng(0).bytes(1_000_000)


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`. ranges: it can resume. breaks: how many answers stop half-way. requests: the Range of each."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"set.bin": CONTENT}
        self.ranges, self.breaks, self.says_length, self.status, self.slow = True, 0, True, 200, 0.0
        self.requests: list[str | None] = []

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        content = self.server.files.get(self.path[1:], b"")
        if self.server.status != 200:
            return self.send_error(self.server.status)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        left = content[start:]
        if self.server.breaks:
            self.server.breaks -= 1
            left = left[: len(left) // 2]
        for at in range(0, len(left), 1 << 16):
            try:
                self.wfile.write(left[at : at + (1 << 16)])
            except OSError:
                return None
            time.sleep(self.server.slow)
        return None
