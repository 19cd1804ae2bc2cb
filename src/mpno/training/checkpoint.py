"""Checkpoints: where a training stood after its last epochs, in a scratch folder that one process has for itself.

A checkpoint is one safetensors file, its plain numbers as JSON in the header and the sha256 of the whole in its name.
Nothing in it is code. It is written whole or not at all, and the last two are kept.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mpno.datasets import read_attrs
from mpno.numerics import processor_name
from mpno.specs import MpnoError, RunSpec
from mpno.specs.files import make_folder, replacing, writing
from mpno.training.records import versions

KEPT = 2
"""Checkpoints of a run that are kept: the last, and the one before should it be damaged."""
PATIENCE = 5.0
"""Seconds to wait for the run's folder: so long may a process that was killed take to be gone."""
_KEY = "mpno"
_LOCK = "lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""What a file system says that cannot lock, as some of clusters."""


class State(NamedTuple):
    """Where a training stands between two epochs."""

    tensors: dict[str, Tensor]
    plain: dict[str, Any]


@contextmanager
def scratch(out: Path) -> Iterator[Path]:
    """The folder for the checkpoints of the run that is written to `out`, beside it, for this process alone.

    It is removed once the block ends well, for then the record is written, and where it holds nothing to go on from.

    Raises:
        MpnoError: another process trains this run, or its folder cannot be written.
    """
    folder = out.parent / f".{out.name}.resume"
    with writing(out):
        lock = _locked(folder, out)
    try:
        yield folder
        shutil.rmtree(folder)
    finally:
        if folder.is_dir() and not any(path.name != _LOCK for path in folder.iterdir()):
            shutil.rmtree(folder)
        os.close(lock)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: that of :func:`scratch`.
        identity: what decides the run's numbers, by name, as :func:`identity_of` has it; a checkpoint of another is
            not used.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        self._folder, self._identity = folder, dict(identity)

    def write(self, epoch: int, state: State) -> None:
        """Keep `state` after `epoch`, and no more than the one before.

        Raises:
            MpnoError: it cannot be written; those before are as they were.
        """
        text = json.dumps({"identity": self._identity, **state.plain})
        data = save({name: _stored(tensor) for name, tensor in state.tensors.items()}, metadata={_KEY: text})
        path = self._folder / f"{epoch:06}-{_digest(data)}.safetensors"
        with writing(path), replacing(path) as temporary:
            temporary.write_bytes(data)
        for old in self._there()[KEPT:]:
            old.unlink()

    def latest(self) -> State | None:
        """The last whole checkpoint of this run; None where there is none. Any that cannot be used is named on stderr
        and removed."""
        for path in self._folder.glob(".*"):  # cut off while it was written
            path.unlink()
        for path in self._there():
            try:
                return self._read(path)
            except _UnusableError as error:
                print(f"mpno: {path}: {error}; it is not used", file=sys.stderr, flush=True)
                path.unlink()
        return None

    def _there(self) -> list[Path]:
        """The last first."""
        return sorted(self._folder.glob("[0-9]*.safetensors"), reverse=True)

    def _read(self, path: Path) -> State:
        data = path.read_bytes()
        if path.stem.partition("-")[2] != _digest(data):
            raise _UnusableError("this checkpoint is damaged, its digest is not that in its name")
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            plain = json.loads(header["__metadata__"][_KEY])
            found, tensors = dict(plain.pop("identity")), load(data)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _UnusableError(f"is no checkpoint of mpno ({error})") from None
        keys = sorted({*found, *self._identity})
        if other := [key for key in keys if found.get(key) != self._identity.get(key)]:
            raise _UnusableError(f"this checkpoint is of another {', '.join(other)}")
        return State(tensors, plain)


class _UnusableError(Exception):
    """Why a checkpoint is not used."""


def identity_of(spec: RunSpec, data: Path, device: torch.device, provenance: Mapping[str, Any]) -> dict[str, str]:
    """What decides the numbers of a run, by name: its spec, data, code, libraries and processor."""
    return {
        "spec": spec.canonical(),
        "data": str(read_attrs(data)["digest"]),
        "code": str(provenance.get("source_digest", "")),
        "versions": json.dumps(versions(), sort_keys=True),
        "processor": processor_name(device),
    }


def _locked(folder: Path, out: Path) -> int:
    """An open file on which this process alone has a lock, until it is closed or the process ends in any way."""
    until = time.monotonic() + PATIENCE
    while True:
        make_folder(folder)
        with suppress(FileNotFoundError):  # removed meanwhile by who had it
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle), (folder / _LOCK).stat()):
                    os.ftruncate(handle, 0)
                    os.write(handle, str(os.getpid()).encode())
                    return handle
            except BlockingIOError:
                if time.monotonic() > until:
                    holder = os.pread(handle, 20, 0).decode() or "another"
                    os.close(handle)
                    raise MpnoError(
                        f"{out}: process {holder} trains this run; wait until it has ended, or name another folder"
                    ) from None
                time.sleep(0.05)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                print(f"mpno: {folder}: has no locks; see that nothing else trains {out}", file=sys.stderr, flush=True)
                return handle
            os.close(handle)


def _stored(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
