"""From a loss to an update of the weights, with the standard techniques against overflow that the paper tries."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from mpno.specs import TrainingSpec

PATIENCE = 20
"""Updates skipped in a row after which loss scaling has failed: the dynamic factor fell from 2^16 to 2^-4 by then."""


class Updater:
    """Backward passes and updates as a training spec asks for: plain, or with techniques.

    Loss scaling multiplies the loss before the backward pass and divides the gradient before the update;
    an update whose gradient is not finite is skipped. Dynamic scaling halves its factor then, and doubles it
    after 2000 updates without. Delayed updates sum the gradients of several batches. Clipping comes last, on the
    summed, unscaled gradient.

    Args:
        optimizer: updates the weights; its parameters are those clipped.
        scheduler: stepped once per update, skipped ones too, so that rates follow the epochs in every arm.
        spec: says which techniques.

    Attributes:
        skipped: updates skipped so far.
        skipped_in_a_row: updates skipped since the last one made.

    Source: paper, Appendix B.5; loss scaling is torch.amp.GradScaler, after Micikevicius et al., "Mixed
    Precision Training", ICLR 2018.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        spec: TrainingSpec,
    ) -> None:
        self._optimizer, self._scheduler = optimizer, scheduler
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._clip = spec.grad_clip
        self._every = spec.delayed_updates or 1
        self._fixed = None if spec.loss_scaling in (None, "dynamic") else float(spec.loss_scaling)
        self._scaler = torch.amp.GradScaler(  # type: ignore[attr-defined]
            self._parameters[0].device.type,
            init_scale=self._fixed or 2.0**16,
            enabled=spec.loss_scaling is not None,
        )
        self._waiting = 0
        self.skipped = 0
        self.skipped_in_a_row = 0

    @property
    def scales_loss(self) -> bool:
        """Whether an update with a gradient that is not finite is skipped rather than made."""
        return self._scaler.is_enabled()

    @property
    def gave_up(self) -> bool:
        """Whether so many updates in a row were skipped that loss scaling has failed."""
        return self.skipped_in_a_row >= PATIENCE

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` goes on from, plain numbers; between updates alone, with no gradient waiting."""
        return {"skipped": self.skipped, "in_a_row": self.skipped_in_a_row, "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.skipped, self.skipped_in_a_row = state["skipped"], state["in_a_row"]
        if self.scales_loss:
            self._scaler.load_state_dict(state["scaler"])

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`, and update once enough batches are in."""
        self._scaler.scale(loss).backward()
        self._waiting += 1
        if self._waiting == self._every:
            self.update()

    def update(self) -> None:
        """Update with the gradients that are in; does nothing without any. To be called at the end of an epoch."""
        if not self._waiting:
            return
        self._waiting = 0
        if self._clip is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._scaler.step(self._optimizer)
        if self._scaler.is_enabled():
            self._rescale()
        with warnings.catch_warnings():
            # torch takes a first update that was skipped for a forgotten one.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _rescale(self) -> None:
        before = self._scaler.get_scale()
        self._scaler.update()
        # The factor falls if and only if the gradient was not finite.
        missed = self._scaler.get_scale() < before
        self.skipped += missed
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if missed else 0
        if self._fixed is not None:
            self._scaler.update(self._fixed)
