"""The scalars of each epoch for TensorBoard, beside the history that every run keeps as csv."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpno.specs import MpnoError


@contextmanager
def epoch_writer(folder: Path | None) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """What writes a row of the history to `folder`, its numbers as scalars over the epoch; None without a folder.

    Raises:
        MpnoError: the tensorboard package is missing.
    """
    if folder is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MpnoError("tensorboard is not installed; install it: pip install 'mpno[tensorboard]'") from None
    with SummaryWriter(str(folder)) as writer:

        def write(row: dict[str, Any]) -> None:
            for name, value in row.items():
                if name != "epoch" and not isinstance(value, str):
                    writer.add_scalar(name, value, row["epoch"])

        yield write
