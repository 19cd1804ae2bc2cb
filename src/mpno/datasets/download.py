"""Downloads over HTTP that survive cuts: pooch's downloader protocol, with resume, retries and patience.

Proxies and certificates are those of requests: the variables https_proxy, no_proxy and REQUESTS_CA_BUNDLE count.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from filelock import FileLock, Timeout
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from mpno.specs import MpnoError

CHUNK = 2**18
SPARE = 64 * 2**20
"""Bytes left free on the disk beside a download."""
HEADERS = {"User-Agent": "mpno (data sets)", "Accept-Encoding": "identity"}  # the bytes as they are, so that sizes hold
RETRIED = {408, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT = 60.0
ARCHIVE = "zenodo.org"
REDIRECTS = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server.

    `connect` and `silence` are seconds without an answer; over `silence` seconds at least `rate` bytes per second must
    come. A try that fails is repeated after `wait` seconds, doubled each time, until `tries` tries in a row brought
    less than a chunk.
    """

    connect: float = 20.0
    silence: float = 60.0
    rate: float = 1024.0
    wait: float = 1.0
    tries: int = 6


PATIENCE = Patience()


class Cut(Exception):
    """A try that failed in a way that another may not."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Resuming:
    """Download `url` to a partial file that outlives a kill, then rename it: a downloader for :func:`pooch.retrieve`.

    Args:
        part: the partial file; what it holds is not asked for again where the server can send ranges.
        size: bytes of the whole file, None where not known.
        progress: show a bar on a terminal.

    Attributes:
        resumed: whether the last download began with bytes of an earlier one.
    """

    def __init__(self, part: Path, *, size: int | None = None, progress: bool = False) -> None:
        self.part, self.size, self.progress = part, size, progress
        self.resumed = False

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> bool | None:
        """Put the whole file at the path `output_file`, or with `check_only` say whether the server has it.

        Raises:
            MpnoError: the server does not have the file, sends another size, or fails too often; no room on the disk.
        """
        if check_only:
            times = (PATIENCE.connect, PATIENCE.silence)
            return requests.head(url, headers=HEADERS, timeout=times, allow_redirects=False).ok
        self.resumed = self._have() > 0
        with tqdm(
            total=self.size,
            desc=Path(url.removesuffix("/content")).name,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=None if self.progress else True,
        ) as bar:
            try:
                persist(lambda: self._once(url, bar), url, gained=self._have)
            except MpnoError as error:
                kept = f"; {self._have()} bytes are kept and the next try goes on from there" if self._have() else ""
                raise MpnoError(f"{error}, or put the file into {self.part.parent}{kept}") from None
            except OSError as error:
                raise MpnoError(
                    f"{self.part}: cannot be written ({error.strerror}); make room or choose another cache folder"
                ) from None
        self.part.replace(output_file)
        return None

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _once(self, url: str, bar: tqdm) -> None:
        start = self._have()
        if start and start == self.size:
            return
        if self.size is not None and start > self.size:
            self.part.unlink()
            start = 0
        headers = HEADERS | ({"Range": f"bytes={start}-"} if start else {})
        with answer(url, headers) as response:
            if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
                return  # all of it was kept
            start, total = self._place(response, start)
            room(self.part.parent, total - start if total else 0, self.part.name)
            bar.reset(total)
            bar.update(start)
            with self.part.open("ab" if start else "wb") as file:
                for block in blocks(response):
                    file.write(block)
                    bar.update(len(block))
        if total is not None and self._have() != total:
            if self._have() > total:
                self.part.unlink()
            raise Cut(f"the connection ended after {self._have()} of {total} bytes")

    def _place(self, response: requests.Response, start: int) -> tuple[int, int | None]:
        """Where the bytes of this answer belong, and how many the whole file has."""
        if response.status_code == 416:  # what we have is no beginning of what the server has
            self.part.unlink(missing_ok=True)
            raise Cut("the server has nothing after the bytes that were kept", wait=0.0)
        found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", response.headers.get("Content-Range", ""))
        if response.status_code == 206 and (found is None or int(found[1]) != start):
            self.part.unlink(missing_ok=True)
            raise Cut(f"asked for bytes from {start}, the server sent {found[0] if found else 'others'}", wait=0.0)
        if response.status_code == 206 and found:
            stated = None if found[2] == "*" else int(found[2])
        else:  # the server ignores ranges: from the beginning
            length = response.headers.get("Content-Length", "")
            start, stated = 0, int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        if self.size is not None and stated not in (None, self.size):
            self.part.unlink(missing_ok=True)
            raise MpnoError(
                f"{response.url}: the server's file has {stated} bytes, {self.size} are expected; "
                "it is not the file of the record: use another mirror"
            )
        return start, self.size if stated is None else stated


def get_json(url: str) -> Any:
    """The JSON that `url` answers with, tried as often as a download.

    Raises:
        MpnoError: no answer, or none that is JSON.
    """

    def once() -> Any:
        with answer(url, HEADERS | {"Accept": "application/json"}) as response:
            body = b""
            for block in blocks(response):
                body += block
                if len(body) > 2**24:
                    raise MpnoError(f"{url}: the answer is longer than a record can be; use another mirror")
            try:
                return json.loads(body)
            except (ValueError, RecursionError):
                raise MpnoError(f"{url}: the answer is not JSON but begins {body[:40]!r}; use another mirror") from None

    return persist(once, url)


def persist(once: Callable[[], T], url: str, gained: Callable[[], int] = lambda: 0) -> T:
    """Call `once` until it does not raise :class:`Cut`, waiting longer each time.

    `gained()` counts bytes: a try that brought a chunk or more starts the count of failures anew.

    Raises:
        MpnoError: too many tries in a row failed.
    """
    failures, before = 0, gained()
    while True:
        try:
            return once()
        except Cut as cut:
            now = gained()
            failures = 1 if now - before >= CHUNK else failures + 1
            before = now
            if failures >= PATIENCE.tries:
                raise MpnoError(
                    f"{url}: could not download it ({cut}; tried {failures} times); check the network and https_proxy, "
                    "or name a mirror in MPNO_ZENODO"
                ) from None
            wait = PATIENCE.wait * 2 ** (failures - 1) if cut.wait is None else cut.wait
            time.sleep(min(wait, LONGEST_WAIT))


@contextmanager
def answer(url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """The server's answer, its body not read yet; what may pass becomes :class:`Cut`.

    Raises:
        MpnoError: the server refuses, or is not the one it says it is.
    """
    try:
        response = _followed(url, headers)
    except requests.exceptions.SSLError as error:
        raise MpnoError(
            f"{url}: the server's certificate does not hold ({error}); set REQUESTS_CA_BUNDLE to your network's"
        ) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Cut(_reason(error)) from None
    except (OSError, ValueError) as error:  # also what is wrong with a proxy, or with the file of certificates
        raise MpnoError(
            f"{url}: cannot be asked for ({error}); check the address, https_proxy and REQUESTS_CA_BUNDLE"
        ) from None
    with response:
        code = response.status_code
        if code in RETRIED:
            after = response.headers.get("Retry-After", "")
            raise Cut(
                f"the server answered {code} {response.reason}",
                float(after) if re.fullmatch("[0-9]{1,9}", after) else None,
            )
        if code not in (200, 206, 416):
            raise MpnoError(
                f"{url}: the server answered {code} {response.reason}; check the address, or name another mirror in "
                "MPNO_ZENODO"
            )
        yield response


def _followed(url: str, headers: dict[str, str]) -> requests.Response:
    """The answer to `url`, after the redirects that stay with the server or within the archive's own domain.

    Raises:
        MpnoError: a redirect leads to another scheme or host, or there are too many.
    """
    asked, times = url, (PATIENCE.connect, PATIENCE.silence)
    for _ in range(REDIRECTS):
        response = requests.get(asked, headers=headers, stream=True, timeout=times, allow_redirects=False)
        target = response.headers.get("Location")
        if response.status_code not in (301, 302, 303, 307, 308) or not target:
            return response
        response.close()
        asked = urljoin(asked, target)
        if not _same_server(url, asked):
            raise MpnoError(
                f"{url}: the server sends on to {asked}; allowed: the same scheme and host, or within {ARCHIVE}: name "
                "a mirror in MPNO_ZENODO that holds the files itself"
            )
    raise MpnoError(f"{url}: the server sends on more than {REDIRECTS} times; name another mirror in MPNO_ZENODO")


def _same_server(url: str, other: str) -> bool:
    one, two = urlsplit(url), urlsplit(other)
    known = one.netloc == ARCHIVE and (two.netloc == ARCHIVE or two.netloc.endswith(f".{ARCHIVE}"))
    return one.scheme == two.scheme and (one.netloc == two.netloc or known)


def blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes. A server that is silent, cuts, or sends too slowly to end becomes :class:`Cut`."""
    since, count = time.monotonic(), 0
    try:
        # read1 gives what is there: read would wait for a whole block, and lose it when the connection is cut.
        while block := response.raw.read1(CHUNK, decode_content=False):
            yield block
            count += len(block)
            if (span := time.monotonic() - since) > PATIENCE.silence:
                if count < PATIENCE.rate * span:
                    raise Cut(f"the server sent {count} bytes in {span:.1f} s")
                since, count = time.monotonic(), 0
    except (HTTPError, OSError) as error:
        raise Cut(_reason(error)) from None


def room(folder: Path, needed: int, what: str) -> None:
    """Refuse what the disk cannot hold.

    Raises:
        MpnoError: fewer than `needed` bytes, and some to spare, are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise MpnoError(
            f"{folder}: {what} needs {needed} bytes, {free} are free and {SPARE} are kept spare; make room or choose "
            "another cache folder"
        )


@contextmanager
def alone(path: Path, progress: bool = False) -> Iterator[None]:
    """Hold the lock of `path`: other processes wait, and find the work done. A process that dies lets go of it."""
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            tqdm.write(f"{path.name}: another process is at it; waiting", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _reason(error: BaseException) -> str:
    """The innermost cause of a network error, without the library's wrapping."""
    while (inner := getattr(error, "reason", None) or error.__cause__ or error.__context__) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    name = type(error).__name__
    return str(error) if str(error).startswith(name) else f"{name}: {error}"
