"""The U-Net, the paper's baseline: no spectral layer, so mixed precision for it is what autocast does."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mpno.models.checks import check_field, check_sizes, spec_of
from mpno.numerics import hold, hold_anew, no_autocast, recomputing
from mpno.specs import MpnoError, PrecisionSetting, UNetSpec


class UNet(nn.Module):
    """U-Net on a two-dimensional regular grid.

    On each level two 3x3 convolutions, each with batch norm and ReLU; between levels max pooling down and a transposed
    2x2 convolution up; at each level what went down is put beside what comes up. Outside the grid there are zeros.

    A grid that cannot be halved `depth` times is continued by its last values to the next multiple of 2^depth, and
    the result is cut back to it, so every grid of at least 2^depth points per axis will do.

    Args:
        in_channels, out_channels: channels of the data; grid coordinates on [0, 1) are appended to the input.
        spec: sizes (see :class:`mpno.specs.UNetSpec`), which may be given as keywords instead.
        precision: ``full`` or ``amp``, with any format: convolutions in it, as autocast has them, and batch norm on
            its values with statistics and arithmetic in fp32. On a GPU torch runs fp32 convolutions in TF32 unless
            ``torch.backends.cudnn.allow_tf32`` is False, as trainings and evaluations of runs set it.

    Raises:
        MpnoError: a precision with a low spectral block or a stabiliser, which this model has no place for.

    Source: Ronneberger et al., "U-Net", MICCAI 2015, with batch norm; four halvings and 64 features are the
    configuration of the paper's authors.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        spec: UNetSpec | None = None,
        *,
        precision: PrecisionSetting | str = "full",
        **sizes: Any,
    ) -> None:
        super().__init__()
        spec = spec_of("UNet", UNetSpec, spec, sizes)
        check_sizes("UNet", in_channels, out_channels, spec, UNetSpec)
        self.spec, self.in_channels, self.out_channels = spec, in_channels, out_channels
        widths = [spec.features * 2**level for level in range(spec.depth + 1)]
        inputs = [in_channels + 2, *widths[:-1]]
        self.down = nn.ModuleList(Level(i, o) for i, o in zip(inputs, widths, strict=True))
        self.upsample = nn.ModuleList(Upsampling(2 * o, o) for o in widths[:-1])
        self.up = nn.ModuleList(Level(2 * o, o) for o in widths[:-1])
        self.projection = Convolution(widths[0], out_channels, 1, bias=True)
        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on; parameters and running statistics stay as they are."""
        setting = PrecisionSetting.of(precision, where="UNet")
        if setting.setting not in ("full", "amp") or setting.stabiliser != "none" or setting.layers:
            raise MpnoError(
                f"UNet: precision is {setting.label!r}; it has no spectral block, so choose full, amp or amp-bf16"
            )
        self.precision = setting
        for module in self.modules():
            if isinstance(module, Convolution | Upsampling | Level):
                module.format = setting.real

    def forward(self, x: Float[Tensor, "b i *grid"]) -> Float[Tensor, "b o *grid"]:
        """Map a field to a field on the same grid; the result is fp32."""
        check_field("UNet", x, channels=self.in_channels, axes=2, device=self.projection.weight.device)
        rows, columns = x.shape[2:]
        self._check_grid(len(x), rows, columns)
        x = self._continued(torch.cat([x, _coordinates(x)], 1)).contiguous(memory_format=torch.channels_last)
        # Formats are the setting's to say.
        kept = recomputing(False, saved=self.precision.saved, apart=self.parameters())
        with no_autocast(x.device), kept:
            return self._run(x)[:, :, :rows, :columns].float().contiguous()

    def _run(self, x: Tensor) -> Tensor:
        passed: list[Tensor] = []
        for level in self.down[:-1]:
            passed.append(level(x))
            x = F.max_pool2d(passed[-1], 2)
        x = self.down[-1](x)
        for upsample, level in zip(reversed(self.upsample), reversed(self.up), strict=True):
            x = level(torch.cat([upsample(x), passed.pop()], 1))
        return self.projection(x)

    def _continued(self, x: Tensor) -> Tensor:
        step = 2**self.spec.depth
        missing = [-n % step for n in x.shape[2:]]
        return F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else x

    def _check_grid(self, batch: int, rows: int, columns: int) -> None:
        depth = self.spec.depth
        least = 2**depth
        if min(rows, columns) < least:
            raise MpnoError(
                f"UNet got a grid of {rows} x {columns} points; its {depth} halvings want at least {least} x {least}; "
                f"use a finer grid, or build the model with a smaller depth"
            )
        if self.training and batch == 1 and max(rows, columns) <= least:
            raise MpnoError(
                f"UNet got one sample of {rows} x {columns} points to train on; after {depth} halvings batch norm "
                "has a single value to take a variance of; give a larger batch, or call .eval()"
            )


class Convolution(nn.Module):
    """A convolution in a given format, zeros outside the grid, accumulated in fp32. Initialised as torch's."""

    def __init__(self, in_channels: int, out_channels: int, size: int, *, bias: bool) -> None:
        super().__init__()
        self.format = "fp32"
        made = nn.Conv2d(in_channels, out_channels, size, bias=bias)
        self.weight, self.bias = made.weight, made.bias

    def forward(self, x: Float[Tensor, "b i rows columns"]) -> Float[Tensor, "b o rows columns"]:
        bias = None if self.bias is None else hold(self.bias, self.format)
        weight = hold(self.weight, self.format)
        return hold(F.conv2d(hold_anew(x, self.format), weight, bias, padding=weight.shape[-1] // 2), self.format)


class Upsampling(nn.Module):
    """A transposed 2x2 convolution with stride 2 in a given format: twice as many points along each axis."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.format = "fp32"
        made = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        assert made.bias is not None
        self.weight, self.bias = made.weight, made.bias

    def forward(self, x: Float[Tensor, "b i rows columns"]) -> Float[Tensor, "b o 2*rows 2*columns"]:
        bias, weight = hold(self.bias, self.format), hold(self.weight, self.format)
        return hold(F.conv_transpose2d(hold_anew(x, self.format), weight, bias, stride=2), self.format)


class Level(nn.Module):
    """Twice a 3x3 convolution, batch norm and ReLU. The norm's own shift makes a bias of the convolution idle."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.format = "fp32"
        self.convolutions = nn.ModuleList(
            Convolution(i, out_channels, 3, bias=False) for i in (in_channels, out_channels)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(out_channels) for _ in range(2))

    def forward(self, x: Float[Tensor, "b i rows columns"]) -> Float[Tensor, "b o rows columns"]:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(hold(norm(convolution(x)), self.format))
        return x


def _coordinates(x: Tensor) -> Tensor:
    axes = [torch.arange(n, device=x.device, dtype=x.dtype) / n for n in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return grid.expand(x.shape[0], *grid.shape)
