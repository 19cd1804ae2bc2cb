"""Other people's models after conversion: the same numbers in full, close ones in half, all else as it was."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from foreign import LAYERS, Net, SpectralConv2d, TransposedSpectralConv2d
from torch import Tensor, nn

import mpno
from mpno import MpnoError
from mpno.models import CornerKernel
from mpno.numerics import RangeMonitor
from mpno.specs import get_format
from mpno.specs.names import Transform

BLOCKS = 2


def peer(name: str, **options: Any) -> nn.Module:
    models = pytest.importorskip("neuralop.models", reason="neuraloperator is not installed")
    sizes = {"in_channels": 1, "out_channels": 1, "hidden_channels": 4, "n_layers": BLOCKS, "n_modes": (6, 6)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(models, name)(**{**sizes, **options})


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain-1d": (lambda: Net(1), (16,)),
    "plain-2d": (lambda: Net(2), (12, 10)),
    "plain-3d": (lambda: Net(3, modes=2), (6, 8, 7)),
    "fno": (lambda: peer("FNO"), (12, 10)),
    "fno-1d": (lambda: peer("FNO", n_modes=(7,)), (15,)),
    "fno-3d": (lambda: peer("FNO", n_modes=(4, 5, 4)), (6, 8, 7)),
    "tfno-cp": (lambda: peer("TFNO", factorization="cp", rank=0.4), (12, 10)),
    "tfno-tucker": (lambda: peer("TFNO", factorization="tucker", rank=0.4), (12, 10)),
    "tfno-tt": (lambda: peer("TFNO", factorization="tt", rank=0.4, implementation="reconstructed"), (12, 10)),
    "sfno": (lambda: peer("SFNO", n_modes=(5, 10)), (10, 20)),
    "sfno-cp": (lambda: peer("SFNO", n_modes=(5, 12), factorization="cp", rank=0.5), (10, 21)),
}


def make(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, grid = MODELS[name]
    return build(), smooth(grid)


def smooth(grid: tuple[int, ...]) -> Tensor:
    """Two fields of the lowest frequencies, so that the spectral layers see most of them."""
    coarse = torch.randn(2, 1, *[3] * len(grid))
    return nn.functional.interpolate(coarse, grid, mode={1: "linear", 2: "bilinear", 3: "trilinear"}[len(grid)])


def relative(got: Tensor, want: Tensor) -> float:
    return float((got.detach() - want.detach()).norm() / want.detach().norm())


def tolerance(grid: tuple[int, ...], format: str = "fp32") -> float:
    """Of the error in the norm: in each block sixteen stored values on the way, and sums accumulated in fp32.

    At most five in either transform, the input, the weights and their factors, products and sums of parts.
    """
    return BLOCKS * (16 * get_format(format).unit_roundoff + 2 * sum(grid) * get_format("fp32").unit_roundoff)


def with_gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    assert x.grad is not None
    found = {"y": y, "x": x.grad}
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.dtype is p.dtype, name
        found[name] = p.grad
    return found


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("name", MODELS)
def test_full_is_the_original_to_rounding(name: str, transform: Transform) -> None:
    model, x = make(name)
    x = torch.randn(x.shape)
    before = with_gradients(model, x)
    report = mpno.convert(model, "full", transform=transform)
    assert len(report.converted) == BLOCKS and report.left == ()
    after = with_gradients(model, x)
    # A gradient that sums over all points may nearly cancel: it is judged beside the others of its kind.
    spectral = {key for layer in report.converted for key in before if key.startswith(f"{layer.path}.weight")}
    for key, want in before.items():
        kin = spectral if key in spectral else {key} if key in "xy" else set(before) - spectral - {"x", "y"}
        scale = max(float(before[other].detach().norm()) for other in kin)
        assert float((after[key] - want).detach().norm()) <= tolerance(tuple(x.shape[2:])) * scale, key


@pytest.mark.parametrize("name", MODELS)
def test_half_is_within_the_formats_tolerance_and_two_bits_are_not(name: str) -> None:
    """Relative to what the spectral layers add to the output: what goes past them is exact."""
    model, x = make(name)
    bound = tolerance(tuple(x.shape[2:]), "fp16")
    for stabiliser in ("none", "tanh"):
        mpno.convert(model, f"full+{stabiliser}")
        want = model(x)
        share = float((want - without_spectrum(model, x)).norm())
        errors = {}
        for format in ("fp16", "e5m2"):
            mpno.convert(model, f"mixed-{format}+{stabiliser}")
            errors[format] = float((model(x) - want).norm()) / share
        assert 0 < errors["fp16"] <= bound < errors["e5m2"], (errors, bound)


def without_spectrum(model: nn.Module, x: Tensor) -> Tensor:
    layers = [module for module in model.modules() if hasattr(module, "_conversion")]
    handles = [layer.register_forward_hook(lambda *call: torch.zeros_like(call[-1])) for layer in layers]
    y = model(x)
    for handle in handles:
        handle.remove()
    return y


@pytest.mark.parametrize("grid", [(5, 6), (6, 6), (7, 9), (4, 30)])
def test_corners_that_overlap_do_so_as_in_the_original(grid: tuple[int, int]) -> None:
    layer, x = SpectralConv2d(3, 2, 4, 4), torch.randn(2, 3, *grid)
    want = layer(x)
    mpno.convert(layer, "full")
    assert relative(layer(x), want) <= tolerance(grid)


@pytest.mark.parametrize("grid", [(4, 6, 6), (5, 7, 6), (4, 5, 20)])
def test_corners_that_overlap_on_two_axes_too(grid: tuple[int, int, int]) -> None:
    layer, x = LAYERS[3](2, 2, 3, 4, 3), torch.randn(2, 2, *grid)
    want = layer(x)
    mpno.convert(layer, "full")
    assert relative(layer(x), want) <= tolerance(grid)


@pytest.mark.parametrize("factorization", [None, "cp", "tucker", "tt"])
@pytest.mark.parametrize(("used", "grid"), [((8, 8), (6, 5)), ((5, 4), (12, 12)), ((6, 9), (4, 24)), ((3, 2), (8, 9))])
def test_fewer_modes_are_cut_where_the_peer_cuts(
    used: tuple[int, int], grid: tuple[int, int], factorization: str | None
) -> None:
    """Counts of either parity, by what is used of the modes stored and by what the grid resolves."""
    model = peer("FNO", n_modes=(8, 8), factorization=factorization, rank=0.5)
    blocks: Any = model.fno_blocks
    x = torch.randn(2, 1, *grid)
    mpno.convert(model, "full")
    blocks.n_modes = used  # as incremental training sets them
    got = model(x)
    mpno.revert(model)
    assert relative(got, model(x)) <= tolerance(grid)


@pytest.mark.parametrize(("name", "optimiser_first"), [("plain-2d", True), ("tfno-cp", False), ("sfno", True)])
def test_fifty_steps_of_the_users_own_loop(name: str, optimiser_first: bool) -> None:
    model, x = make(name)
    target = x.roll(1, -1) - x.roll(-1, -1)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    mpno.convert(model, "mixed")
    if not optimiser_first:
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    scaler = mpno.GradScaler("cpu", init_scale=256.0)
    before = [p.detach().clone() for p in model.parameters()]
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.mse_loss(model(x), target)
        losses.append(float(loss))
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
    assert losses[-1] < 0.7 * losses[0], losses
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    mpno.revert(model)
    assert float(nn.functional.mse_loss(model(x), target)) < losses[0]


def clean(state: dict[str, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("name", MODELS)
def test_state_dict_is_the_same_before_during_and_after(name: str) -> None:
    model, x = make(name)
    other, _ = make(name)
    for p in other.parameters():
        nn.init.zeros_(p)
    model(x)
    keys, parameters = list(model.state_dict()), list(model.parameters())
    shapes = [value.shape for value in clean(model.state_dict()).values()]
    mpno.convert(model, "full")
    assert list(model.state_dict()) == keys
    assert [value.shape for value in clean(model.state_dict()).values()] == shapes
    assert all(p is q for p, q in zip(model.parameters(), parameters, strict=True))
    other.load_state_dict(model.state_dict())
    mpno.convert(other, "full")
    assert torch.equal(other(x), model(x))
    for p in model.parameters():
        nn.init.zeros_(p)
    model.load_state_dict(other.state_dict())
    assert torch.equal(other(x), model(x))
    mpno.revert(model)
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("name", ["plain-2d", "fno", "sfno"])
def test_back_to_full_and_back_to_the_original_are_exact(name: str) -> None:
    model, x = make(name)
    original = model(x)
    classes = {path: (module, type(module)) for path, module in model.named_modules()}
    attributes = {path: set(vars(module)) for path, module in model.named_modules()}
    mpno.convert(model, "full")
    full = model(x)
    mpno.convert(model, "mixed")
    assert not torch.equal(model(x), full)
    mpno.convert(model, "full")
    assert torch.equal(model(x), full)
    mpno.set_precision(model, "mixed [0: full]")
    assert not torch.equal(model(x), full)
    mpno.revert(model)
    assert torch.equal(model(x), original)
    for path, module in model.named_modules():
        if path in classes:
            assert (module, type(module)) == classes[path] and set(vars(module)) == attributes[path]
    with pytest.raises(MpnoError, match=r"revert: no layer of \w+ is converted"):
        mpno.revert(model)


def test_a_shared_layer_is_converted_once_and_hooks_and_attributes_stay() -> None:
    model: Any = Net()
    model.conv1 = model.conv0
    model.elsewhere = nn.Sequential(model.conv0)  # under another parent too
    calls = []
    model.conv0.register_forward_hook(lambda *_: calls.append(1))
    report = mpno.convert(model)
    assert [layer.path for layer in report.converted] == ["conv0"]
    model(torch.randn(1, 1, 8, 8))
    assert len(calls) == 2 and isinstance(model.conv0, SpectralConv2d) and model.conv0.modes == (3, 3)
    assert "mixed" in repr(model)


def test_layers_take_settings_of_their_own() -> None:
    model = Net()
    report = mpno.convert(model, "mixed-bf16 [1: full]")
    assert [layer.setting for layer in report.converted] == ["mixed-bf16", "full"]
    assert "conv1  corner weights  full" in str(report)


@pytest.mark.parametrize("name", ["plain-2d", "tfno-tucker", "sfno"])
def test_copies_and_files_of_a_converted_model(name: str) -> None:
    model, x = make(name)
    if name == "sfno":  # whose class the peer makes so that no pickle finds it again
        model, x = model.get_submodule("fno_blocks.convs.0"), torch.randn(2, 4, *x.shape[2:])
    mpno.convert(model, "mixed")
    want = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(twin(x), want)
        for p in twin.parameters():
            nn.init.zeros_(p)
        assert torch.equal(model(x), want) and not torch.equal(twin(x), want)
        mpno.revert(twin)
        assert "Mpno" not in repr(twin)


@pytest.mark.parametrize("name", ["plain-2d", "tfno-cp", "sfno"])
def test_the_cuda_route_computes_in_half(name: str) -> None:
    model, _ = make(name)
    shape = (2, 1, 8, 16)
    mpno.convert(model, "mixed")
    rows = mpno.trace_dtypes(model, shape).operations
    layers = [path for path, module in model.named_modules() if hasattr(module, "_conversion")]
    for path in layers:
        fft = [row.format for row in rows if row.module == path and "fft" in row.operation]
        # The quadrature's weights are made in float64, once.
        assert fft and set(fft) - {"fp64"} == {"fp16"}
        assert "fp16" in {row.format for row in rows if row.module == path and row.operation in ("bmm", "mm")}
    mpno.convert(model, "full")
    assert {row.format for row in mpno.trace_dtypes(model, shape).operations} - {"fp64"} == {"fp32"}


def test_monitors_see_converted_layers() -> None:
    model, x = make("fno")
    mpno.convert(model, "mixed")
    with RangeMonitor(model) as monitor:
        model(x)
    assert [h.layer for h in monitor.report().layers] == ["fno_blocks.convs.0", "fno_blocks.convs.1"]


def test_autocast_gets_the_settings_format_and_others_get_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpno.numerics.rounding.matmul_is_native", lambda format, device: format == "bf16")
    layer = SpectralConv2d(2, 2, 2, 2)
    mpno.convert(layer, "mixed-bf16", transform="matmul")
    x = torch.randn(1, 2, 8, 8)
    assert layer(x).dtype is torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype is torch.bfloat16


class ComplexLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(4, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x)).real if x.is_complex() else x


class LowPass(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (lambda v: torch.fft.irfft(torch.fft.rfft(v)[..., :3], n=v.shape[-1]))(x)


class FourierConv(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_what_is_left_is_listed_with_the_reason() -> None:
    model: Any = Net()
    model.extra = nn.ModuleDict(
        {"matrix": ComplexLinear(), "low": LowPass(), "name": FourierConv(), "ours": mpno.SpectralConv(1, 1, (2,))}
    )
    model.extra["alike"] = TransposedSpectralConv2d(4, 4, 3, 3)
    model.extra["fp64"] = SpectralConv2d(4, 4, 3, 3)
    double: Any = model.extra["fp64"]
    double.weights2.data = double.weights2.data.to(torch.complex128)
    model.extra["biased"] = SpectralConv2d(4, 4, 3, 3)
    model.extra["biased"].bias = nn.Parameter(torch.zeros(4))
    scaled: Any = peer("FNO").get_submodule("fno_blocks.convs.0")
    scaled.resolution_scaling_factor = [2.0, 2.0]
    model.extra["scaled"] = scaled
    report = mpno.convert(model)
    assert [layer.path for layer in report.converted] == ["conv0", "conv1"]
    reasons = {layer.path.removeprefix("extra."): layer.reason for layer in report.left}
    assert reasons.pop("alike").startswith("its forward is not the one that its structure suggests")
    assert reasons == {
        "matrix": "it has complex parameters",
        "low": "it calls irfft, rfft",
        "name": "its name says so",
        "ours": "it is mpno's own; use mpno.set_precision",
        "fp64": "its parameters are in double precision",
        "biased": "it has other parameters too: bias; write a kernel that says what they do",
        "scaled": "resolution_scaling_factor is [2.0, 2.0]; only None is known",
    }
    assert "extra.low" in str(report) and "left as it is: it calls irfft, rfft" in str(report)
    assert type(model.extra["alike"]) is TransposedSpectralConv2d


def test_modes_under_other_names_are_those_of_the_weights() -> None:
    model, x = Net(), torch.randn(2, 1, 12, 12)
    wanted = model(x)
    for layer in (model.conv0, model.conv1):
        for axis in (1, 2):
            delattr(layer, f"modes{axis}")
    assert len(mpno.convert(model, "full").converted) == 2
    torch.testing.assert_close(model(x), wanted, rtol=1e-5, atol=1e-5)


def test_nothing_converted_is_an_error_that_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MpnoError, match=r"found no spectral layer in Sequential .* mpno.register_adapter"):
        mpno.convert(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(MpnoError, match=r"left: 0 \(it calls irfft, rfft\); say how"):
        mpno.convert(nn.Sequential(LowPass()))
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(MpnoError, match="transform 'ftf'; did you mean fft"):
        mpno.convert(Net(), transform="ftf")  # type: ignore[reportArgumentType]


class OwnLayer(nn.Module):
    """Real pairs, a bias, and matrices (out, in): nothing that mpno knows."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Parameter(torch.randn(3, 2, 4, 2))
        self.shift = nn.Parameter(torch.randn(3, 1))

    def forward(self, x: Tensor) -> Tensor:
        s = torch.fft.rfft(x)[..., :4]
        y = torch.einsum("bim,oim->bom", s, torch.view_as_complex(self.low))
        return torch.fft.irfft(y, n=x.shape[-1]) + self.shift


def own_kernel(layer: OwnLayer) -> CornerKernel:
    return CornerKernel((torch.view_as_complex(layer.low).transpose(0, 1),), layer.shift.flatten())


@pytest.mark.parametrize("known", [OwnLayer, lambda module: hasattr(module, "low")], ids=["class", "function"])
def test_a_registered_adapter(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpno.models.adapters._registered", [])
    layer, x = OwnLayer(), torch.randn(2, 2, 16)
    with pytest.raises(MpnoError):
        mpno.convert(layer)
    want = with_gradients(layer, x)
    mpno.register_adapter(known, own_kernel, kind="own")
    assert mpno.convert(layer, "full").converted[0].kind == "own"
    for key, got in with_gradients(layer, x).items():
        assert relative(got, want[key]) <= 4 * tolerance((16,)), key


def test_a_wrong_kernel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpno.models.adapters._registered", [])
    mpno.register_adapter(OwnLayer, lambda layer: CornerKernel((torch.view_as_complex(layer.low).transpose(0, 1),)))
    with pytest.raises(MpnoError, match="its forward is not the one"):
        mpno.convert(OwnLayer())


def test_calls_that_a_converted_layer_refuses() -> None:
    model, x = make("fno")
    mpno.convert(model, "full")
    want = model(x)
    assert torch.equal(model(x, output_shape=(12, 10)), want)
    layer: Any = model.get_submodule("fno_blocks.convs.0")
    field = torch.randn(2, 4, 12, 10)
    assert torch.equal(layer(field, (12, 10)), layer(field, output_shape=[12, 10]))
    for call, message in (
        (lambda: layer(field, output_shape=(24, 20)), r"was asked for one on \(24, 20\); a converted layer keeps"),
        (lambda: layer(torch.randn(2, 4, 11, 10)), r"got a grid of \(11, 10\) points; allowed are even numbers"),
        (lambda: layer(torch.randn(2, 3, 12, 10)), r"got shape \(2, 3, 12, 10\); it wants \(batch, 4, n, n\)"),
        (lambda: layer(field.double()), "got torch.float64; a converted layer takes float32"),
    ):
        with pytest.raises(MpnoError, match=message):
            call()
    corner = SpectralConv2d(2, 2, 4, 4)
    mpno.convert(corner, "full")
    with pytest.raises(MpnoError, match=r"got a grid of \(3, 8\) points; its modes \(4, 4\) want \(4, 6\) or more"):
        corner(torch.randn(1, 2, 3, 8))
