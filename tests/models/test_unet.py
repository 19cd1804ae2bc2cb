"""The U-Net against a plain float64 one, and its amp against torch.autocast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mpno import MpnoError, RunSpec
from mpno.measurement.memory import predict_bytes
from mpno.models import make_model
from mpno.models.unet import UNet
from mpno.numerics import evidence_of, trace_dtypes
from mpno.specs import PrecisionSetting, UNetSpec
from mpno.training.divergence import first_not_finite

SMALL = UNetSpec(features=4, depth=2)
UNIT = 2.0**-24


def conv3(x: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution with zeros outside, as nine shifted products."""
    padded = F.pad(x, (1, 1, 1, 1))
    rows, columns = x.shape[2:]
    shifts = ((i, j) for i in range(3) for j in range(3))
    return sum(
        (torch.einsum("bcyx,oc->boyx", padded[:, :, i : i + rows, j : j + columns], weight[:, :, i, j])
         for i, j in shifts),
        torch.zeros((), dtype=x.dtype),
    )  # fmt: skip


def dense_unet(state: dict[str, Tensor], x: Tensor, depth: int, training: bool) -> Tensor:
    """The same architecture in float64, written out."""
    p = {name: value.double() for name, value in state.items()}
    size = x.shape[2:]
    y, z = (torch.arange(n).double() / n for n in size)
    x = torch.cat([x.double(), y[:, None].expand(len(x), 1, *size), z.expand(len(x), 1, *size)], 1)
    for axis in (2, 3):
        n, step = x.shape[axis], 2**depth
        x = x.index_select(axis, torch.arange(-(-n // step) * step).clamp(max=n - 1))

    def level(x: Tensor, name: str) -> Tensor:
        for i in (0, 1):
            x = conv3(x, p[f"{name}.convolutions.{i}.weight"])
            mean, var = (p[f"{name}.norms.{i}.running_{what}"] for what in ("mean", "var"))
            if training:
                mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            gain, shift = p[f"{name}.norms.{i}.weight"], p[f"{name}.norms.{i}.bias"]
            x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt() * gain[:, None, None]
            x = (x + shift[:, None, None]).clamp(min=0)
        return x

    kept = []
    for i in range(depth):
        kept.append(level(x, f"down.{i}"))
        x = kept[-1].unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
    x = level(x, f"down.{depth}")
    for i in reversed(range(depth)):
        raised = torch.einsum("bcyx,coij->boyixj", x, p[f"upsample.{i}.weight"]).flatten(4, 5).flatten(2, 3)
        x = level(torch.cat([raised + p[f"upsample.{i}.bias"][:, None, None], kept[i]], 1), f"up.{i}")
    weight = p["projection.weight"][:, :, 0, 0]
    out = torch.einsum("bcyx,oc->boyx", x, weight) + p["projection.bias"][:, None, None]
    return out[:, :, : size[0], : size[1]]


def shaken(model: UNet) -> UNet:
    """Give the norms gains, shifts and running statistics that are not the identity's."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                assert tensor is not None
                nn.init.uniform_(tensor, low, low + 1)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("grid", "channels"), [((16, 12), (1, 1)), ((13, 18), (3, 2)), ((5, 4), (2, 1))])
def test_it_is_the_plain_u_net(grid: tuple[int, int], channels: tuple[int, int], training: bool) -> None:
    """Odd sizes are continued by their last values."""
    model = shaken(UNet(*channels, SMALL)).train(training)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(3, channels[0], *grid)
    wanted = dense_unet(state, x, SMALL.depth, training)
    found = model(x)
    assert found.shape == wanted.shape and found.dtype is torch.float32
    # One rounding per term of every sum on the way, first order.
    terms = sum(p[0].numel() for name, p in model.named_parameters() if p.ndim == 4)
    assert (found - wanted).norm() < terms * UNIT * wanted.norm()


def test_the_authors_size_has_31_million_parameters() -> None:
    """Counted from the layers: 3x3 kernels and two numbers of a norm per channel, 2x2 kernels with bias, 1x1 last."""
    with torch.device("meta"):
        model = UNet(1, 1)
    widths = [64, 128, 256, 512, 1024]

    def level(i: int, o: int) -> int:
        return 9 * i * o + 9 * o * o + 4 * o

    count = level(3, 64) + sum(level(i, 2 * i) for i in widths[:-1])
    count += sum(4 * 2 * o * o + o + level(2 * o, o) for o in widths[:-1]) + 64 + 1
    assert sum(p.numel() for p in model.parameters()) == count == 31_037_633


class Dtypes(TorchDispatchMode):
    """The dtype of what each kind of operation makes."""

    KINDS = ("convolution", "batch_norm", "relu", "max_pool2d", "cat")

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = out[0] if isinstance(out, tuple) else out
        for kind in self.KINDS:
            # Not the coordinates, which come before the model.
            if kind in str(func) and not (kind == "cat" and made.shape[1] == 3):
                self.seen.setdefault(kind, set()).add(made.dtype)
        return out


def torch_unet(model: UNet, x: Tensor) -> Tensor:
    """The same layers called as a torch user would, for torch.autocast to decide on their formats."""
    y = torch.linspace(0, 1, x.shape[2] + 1)[:-1]
    y, z = torch.meshgrid(y, y, indexing="ij")
    x = torch.cat([x, y.expand_as(x), z.expand_as(x)], 1)

    def level(x: Tensor, which: Any) -> Tensor:
        for c, n in zip(which.convolutions, which.norms, strict=True):
            x = F.conv2d(x, c.weight, padding=1)
            x = F.relu(F.batch_norm(x, None, None, n.weight, n.bias, training=True))
        return x

    kept = []
    for which in list(model.down)[:-1]:
        kept.append(level(x, which))
        x = F.max_pool2d(kept[-1], 2)
    x = level(x, model.down[-1])
    for i in reversed(range(len(kept))):
        up: Any = model.upsample[i]
        x = level(torch.cat([F.conv_transpose2d(x, up.weight, up.bias, stride=2), kept[i]], 1), model.up[i])
    return F.conv2d(x, model.projection.weight, model.projection.bias)


def test_amp_is_what_autocast_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 on a CPU, where autocast can be asked; stored in it here too, whatever the processor has."""
    monkeypatch.setattr("mpno.numerics.rounding.matmul_is_native", lambda format, device: True)
    model = shaken(UNet(1, 1, SMALL, precision="amp-bf16"))
    x = torch.randn(4, 1, 16, 16)
    with torch.no_grad(), Dtypes() as ours:
        found = model(x)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Dtypes() as theirs:
        wanted = torch_unet(model, x)
    assert ours.seen == theirs.seen and set(ours.seen) == set(Dtypes.KINDS)
    assert ours.seen["convolution"] == {torch.bfloat16}
    model.set_precision("full")
    distance = (model(x) - wanted).norm()
    # Sums in another order now and then round to the neighbour.
    assert (found - wanted).norm() < 0.25 * distance
    assert 0 < distance < 0.1 * wanted.norm()


def test_amp_on_cuda_is_fp16_between_norms_in_fp32() -> None:
    """Traced on shapes, which take CUDA's path; a norm of fp16 values has fp32 parameters, hence fp32 arithmetic."""
    trace = trace_dtypes(UNet(1, 1, SMALL, precision="amp"), (2, 1, 16, 16))
    convolutions = [row for row in trace.operations if row.operation == "convolution"]
    assert sum(row.calls for row in convolutions) == 2 * 5 + 2 + 1
    assert all(set(row.inputs.split(", ")) == {"float16"} and row.output == "float16" for row in convolutions)
    norms = [row for row in trace.operations if "batch_norm" in row.operation and row.elements > 100]
    assert norms and all(row.inputs.startswith("float16, float32") for row in norms)
    assert trace.operations[-1].output == "float32"


@pytest.mark.parametrize("precision", ["full", "amp", "amp-bf16"])
def test_it_trains_in_every_setting_it_has(precision: str) -> None:
    model = make_model(SMALL, 2, 1, precision=precision)
    y = model(torch.randn(2, 2, 9, 10))
    assert y.dtype is torch.float32 and y.shape == (2, 1, 9, 10)
    y.square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.dtype is torch.float32 and p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, name


def test_distance_from_full_grows_as_bits_are_removed() -> None:
    model = UNet(1, 1, SMALL)
    x = torch.randn(4, 1, 16, 16)
    full = model(x)
    distances = []
    for format in ("fp16", "e5m6", "e5m2"):
        model.set_precision(f"amp-{format}")
        distances.append(((model(x) - full).norm() / full.norm()).item())
    # 4 bits fewer is a unit roundoff 16 times as large; rounding errors partly cancel, so ask for half of that.
    assert distances[1] > 8 * distances[0] and distances[2] > 4 * distances[1], distances
    assert 0 < distances[0] < 0.01


def test_going_back_to_full_is_full_again() -> None:
    model = UNet(1, 1, SMALL).eval()
    x = torch.randn(2, 1, 8, 8)
    before = model(x)
    model.set_precision("amp")
    assert not torch.equal(model(x), before)
    model.set_precision("full")
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("precision", ["half", "mixed", "schedule", "full+tanh", "amp [0: full]"])
def test_what_needs_a_spectral_block_is_refused(precision: str) -> None:
    with pytest.raises(MpnoError, match=r"UNet: precision is .*; it has no spectral block, so choose full, amp or"):
        UNet(1, 1, SMALL, precision=precision)


def test_evidence_says_whether_the_processor_convolves_in_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN, which convolves, needs the same instructions as for matrix products; without them mpno widens."""
    cpu = torch.device("cpu")
    for has, evidence in ((True, "native"), (False, "emulated")):
        monkeypatch.setattr("mpno.numerics.native._cpu_has", lambda format, has=has: has)
        for precision in ("amp", "amp-bf16"):
            assert evidence_of(PrecisionSetting.model_validate(precision), "fft", cpu) == evidence
        model = UNet(1, 1, SMALL, precision="amp-bf16")
        level = model.get_submodule("down.0")
        assert level(torch.zeros(2, 3, 8, 8)).dtype is (torch.bfloat16 if has else torch.float32)


def test_overflow_is_traced_to_its_convolution() -> None:
    model = UNet(1, 1, SMALL, precision="amp")
    with torch.no_grad():
        model.get_parameter("upsample.1.weight").mul_(1e7)
    where, operation = first_not_finite(model, torch.randn(2, 1, 8, 8))
    assert where == "upsample.1" and operation


def test_amp_saves_memory_for_the_backward_pass() -> None:
    spec = RunSpec.model_validate({"model": {"name": "unet", "features": 8}, "data": {"source": "generate"}})
    full, amp = (
        predict_bytes(spec.model_copy(update={"precision": PrecisionSetting.model_validate(p)}))
        for p in ("full", "amp")
    )
    assert full is not None and amp is not None
    assert amp["parameters"] == full["parameters"] and amp["activations"] < 0.75 * full["activations"]
