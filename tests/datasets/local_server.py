"""A server on the loopback that answers as Zenodo does, well or badly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What one path answers. `codes` come first, one a request; then the body, as far as the fields let it."""

    body: bytes
    codes: list[int] = field(default_factory=list)
    ranges: bool = True
    shift: int = 0  # what is added to the beginning of a range that is asked for
    length: bool = True  # whether the answer says how long it is
    cut: int | None = None  # the connection ends after so many bytes of each answer
    stall: int | None = None  # silence after so many bytes
    pause: float = 0.0  # seconds between pieces of 16 KiB
    headers: dict[str, str] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """`pages` maps paths to answers; `asked` lists (path, Range header) of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.ended = threading.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"

    def hold(self, record: int, name: str, body: bytes, **fields: object) -> Page:
        """Serve a file and its record, as the API gives it today."""
        entry = {"key": name, "size": len(body), "checksum": f"md5:{hashlib.md5(body).hexdigest()}"}
        self.pages[f"/api/records/{record}"] = Page(json.dumps({"id": record, "files": [entry]}).encode())
        page = Page(body, **fields)  # type: ignore[arg-type]
        self.pages[f"/api/records/{record}/files/{name}/content"] = page
        return page

    def contents(self) -> list[str | None]:
        """The Range headers of the requests for a file, in order."""
        return [wanted for path, wanted in self.asked if path.endswith("/content")]


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        page = self.server.pages.get(self.path)
        code = 404 if page is None else page.codes.pop(0) if page.codes else 200
        if page is None or code != 200:
            self.send_response(code)
            for key, value in (page.headers if page else {}).items():
                self.send_header(key, value)
            self.end_headers()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and page.ranges else 0  # type: ignore[index]
        start += page.shift if start else 0
        if start >= len(page.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(page.body)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        if page.length:
            self.send_header("Content-Length", str(len(page.body) - start))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._send(page, page.body[start:])

    def _send(self, page: Page, body: bytes) -> None:
        rest = body if page.cut is None else body[: page.cut]
        if page.stall is not None:
            self.wfile.write(rest[: page.stall])
            self.server.ended.wait(20)
        elif page.pause:
            for first in range(0, len(rest), 2**14):
                self.wfile.write(rest[first : first + 2**14])
                if self.server.ended.wait(page.pause):
                    return
        else:
            self.wfile.write(rest)
