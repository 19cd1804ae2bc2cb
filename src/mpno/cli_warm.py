"""A process that has loaded torch once and forks for every job that would load it again.

A run of the workflow has some two hundred short jobs, and each would spend two seconds on loading torch. Where the
workflow runs on this machine it keeps one such process; ``python -m mpno`` hands its command over to it and waits. A
job is a process of its own all the same: what it prints, its exit status and its end by a signal are those it would
have had. Without that process, or where it cannot be reached, the command runs as usual.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

VARIABLE = "MPNO_WARM"
"""The socket, in the environment."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Libraries read these when they are loaded, so jobs with more threads are not handed over."""
_LENGTH = 8
"""Bytes that say how long a request is."""


def hand_over(arguments: Sequence[str]) -> int | None:
    """Let the warm process run the command line `arguments`; return its exit status, None if it does not run there."""
    path = os.environ.get(VARIABLE)
    if not path or os.environ.get("OMP_NUM_THREADS") != "1":
        return None
    asked = {"arguments": list(arguments), "folder": str(Path.cwd()), "environment": dict(os.environ)}
    request = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return None
        socket.send_fds(connection, [len(request).to_bytes(_LENGTH, "big")], [0, 1, 2])
        connection.sendall(request)
        status = connection.recv(1)
    if not status:
        print("mpno: the job's process was ended before it finished; call again", file=sys.stderr)
        return 137
    return status[0]


def keep_warm() -> subprocess.Popen[bytes]:
    """Start the process and name it in the environment; it ends with the caller, whose end closes its input."""
    folder = Path(tempfile.mkdtemp(prefix="mpno-"))
    os.environ[VARIABLE] = str(folder / "socket")
    return subprocess.Popen(
        [sys.executable, "-c", "from mpno.cli_warm import serve; serve()", os.environ[VARIABLE]],
        stdin=subprocess.PIPE,
        env={**os.environ, **_ONE_THREAD},
        start_new_session=True,  # an interrupt of the terminal is for the jobs, which end with those who wait for them
    )


def serve() -> None:
    """Fork for every connection to the socket that the first argument names, until standard input ends."""
    path = Path(sys.argv[1])
    # What jobs load, and nothing that starts a thread: threads do not survive a fork.
    import mpno.cli
    import mpno.measurement.probes
    import mpno.paper
    import mpno.training  # noqa: F401
    from mpno.plan import ROOMS, room_digest

    for stage in ROOMS:  # every record holds one; what is read here once is remembered by the jobs
        room_digest(stage)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: their connection says how they end
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as waiting:
        listener.bind(str(path))
        listener.listen(64)
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while not any(key.fileobj is sys.stdin for key, _ in waiting.select()):
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(connection)
            connection.close()
    shutil.rmtree(path.parent, ignore_errors=True)


def _run(connection: socket.socket) -> None:
    """Be the job that `connection` asks for, and end with its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        head, files, _, _ = socket.recv_fds(connection, _LENGTH, 3)
        request = json.loads(_read(connection, int.from_bytes(head, "big")))
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        status = _command(request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            connection.sendall(bytes([status]))
        os._exit(status)


def _command(arguments: list[str]) -> int:
    from mpno.cli import main
    from mpno.cli_clock import loaded_now

    loaded_now()
    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def _end_with(connection: socket.socket) -> None:
    """End this process when who waits for it is gone."""
    if not connection.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


def _read(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        parts.append(connection.recv(count))
        if not parts[-1]:
            raise EOFError("the request ended early")
        count -= len(parts[-1])
    return b"".join(parts)
