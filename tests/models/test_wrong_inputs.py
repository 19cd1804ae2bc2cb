"""Wrong inputs, each refused in one line that says what came, where, what is allowed and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mpno import FNO, SFNO, ContractionSpec, MpnoError, SpectralConv, SphericalConv, set_precision
from mpno.models import make_model
from mpno.models.checks import check_field
from mpno.models.gino import GINO
from mpno.models.unet import UNet
from mpno.specs import FNOSpec, GINOSpec, SFNOSpec, UNetSpec, build_spec

SMALL = FNOSpec(modes=(6, 6), width=4, layers=2)
SHALLOW = UNetSpec(features=2, depth=2)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def as_a_user_runs_it() -> Iterator[None]:
    """Without the type checker that tests turn on, which would refuse some of these inputs first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def field(*shape: int) -> Tensor:
    return torch.zeros(shape or (2, 1, 12, 12))


def holed(*values: float) -> Tensor:
    """A batch with `values` in the second sample, from point (3, 4) on."""
    x = field()
    x[1, 0, 3, 4 : 4 + len(values)] = torch.tensor(values)
    return x


def fno(x: Any) -> Any:
    return FNO(1, 1, SMALL)(x)


def unet(x: Any) -> Any:
    return UNet(1, 1, SHALLOW)(x)


def conv(x: Any) -> Any:
    return SpectralConv(1, 1, (4, 4))(x)


def sphere(x: Any) -> Any:
    return SphericalConv(1, 1, (4, 4))(x)


def on_sphere(x: Tensor) -> None:
    check_field("SFNO", x, channels=1, axes=2, device=CPU, modes=(8, 8), sphere=True)


def run(**values: Any) -> Any:
    return build_spec(values, where="config.yaml")


def model(**values: Any) -> Any:
    return run(model=values)


ON_BODIES = {"name": "gino", "modes": [4, 4, 4]}
CARS = {"name": "car", "source": "generate", "resolution": 16, "test_resolutions": [16]}
SETTINGS = "allowed: full, amp, half, mixed, schedule, compact; -format, -TRIPLE, -weights-only, +stabiliser, "
SETTINGS += "', saved S', ', middle M', ', shares a/b/c', ', full above P' and ' [layer: setting]' may follow"
FORMATS = "allowed: fp32, tf32, fp16, bf16, fp8_e5m2, fp8_e4m3, mxfp8, mxfp8_e5m2, mxfp8_up, mxint8, or eXmY with 2 "
FORMATS += "to 8 exponent and 1 to 23 mantissa bits, or eXmY_maxV with the maximum V; _sat clips what is out of range, "
FORMATS += "_back_FORMAT is of gradients"
FIELDS = "allowed: contraction, layers, lifting_ratio, mlp_expansion, mlp_skip, modes, name, norm, padding, "
FIELDS += "projection_ratio, skip, width"

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    # What forward gets.
    "an array": (
        lambda: fno(np.zeros((2, 1, 12, 12))),
        "FNO got a ndarray; it wants a tensor (batch, 1, n, n); use torch.as_tensor",
    ),
    "no batch axis": (
        lambda: fno(field(1, 12, 12)),
        "FNO got shape (1, 12, 12); it wants (batch, 1, n, n), 4 axes; "
        "add the one missing, as in x[None] for the batch",
    ),
    "an axis too many": (
        lambda: unet(field(2, 1, 12, 12, 12)),
        "UNet got shape (2, 1, 12, 12, 12); it wants (batch, 1, n, n), 4 axes; give it that many axes",
    ),
    "wrong channels": (
        lambda: fno(field(2, 3, 12, 12)),
        "FNO got shape (2, 3, 12, 12); it wants (batch, 1, n, n); "
        "axis 1 holds the channels: give 1 there, or build the model with in_channels=3",
    ),
    "wrong channels, unet": (
        lambda: unet(field(2, 3, 12, 12)),
        "UNet got shape (2, 3, 12, 12); it wants (batch, 1, n, n); "
        "axis 1 holds the channels: give 1 there, or build the model with in_channels=3",
    ),
    "channels last": (
        lambda: fno(field(2, 12, 12, 1)),
        "FNO got shape (2, 12, 12, 1); it wants (batch, 1, n, n); if the channels come last, use x.movedim(-1, 1)",
    ),
    "an empty batch": (
        lambda: fno(field(0, 1, 12, 12)),
        "FNO got shape (0, 1, 12, 12), an empty batch; "
        "it wants (batch, 1, n, n) with at least one sample; skip empty batches",
    ),
    "an empty axis": (
        lambda: unet(field(2, 1, 12, 0)),
        "UNet got shape (2, 1, 12, 0), a grid without points; "
        "it wants (batch, 1, n, n); give every axis at least one point",
    ),
    "float64": (
        lambda: fno(field().double()),
        "FNO got dtype float64; it wants float32, in every precision; call .float() on the input",
    ),
    "integers": (
        lambda: fno(field().int()),
        "FNO got dtype int32; it wants float32, in every precision; call .float() on the input",
    ),
    "half": (
        lambda: unet(field().half()),
        "UNet got dtype float16; it wants float32, in every precision; call .float() on the input",
    ),
    "complex": (
        lambda: fno(field().to(torch.complex64)),
        "FNO got dtype complex64; it wants float32, in every precision; give real and imaginary parts as channels",
    ),
    "another device": (
        lambda: fno(field().to("meta")),
        "FNO got an input on meta, its parameters are on cpu; move one with .to(), as in x.to('cpu')",
    ),
    "another device, unet": (
        lambda: UNet(1, 1, SHALLOW).to("meta")(field()),
        "UNet got an input on cpu, its parameters are on meta; move one with .to(), as in x.to('meta')",
    ),
    "NaN": (
        lambda: fno(holed(float("nan"))),
        "FNO got an input with 1 of 288 values NaN or infinite, the first nan at sample 1, channel 0, point (3, 4); "
        "it wants finite numbers; mend or leave out these samples",
    ),
    "infinite": (
        lambda: unet(holed(float("-inf"))),
        "UNet got an input with 1 of 288 values NaN or infinite, the first -inf at sample 1, channel 0, point (3, 4); "
        "it wants finite numbers; mend or leave out these samples",
    ),
    "infinities that cancel": (
        lambda: fno(holed(1.0, float("inf"), float("-inf"))),
        "FNO got an input with 2 of 288 values NaN or infinite, the first inf at sample 1, channel 0, point (3, 5); "
        "it wants finite numbers; mend or leave out these samples",
    ),
    "too few points": (
        lambda: fno(field(2, 1, 12, 5)),
        "FNO got a grid of 12 x 5 points; its modes 6 x 6 want at least 6 x 6; "
        "use a finer grid, or build the model with fewer modes",
    ),
    "too few longitudes": (
        lambda: on_sphere(field(2, 1, 8, 15)),
        "SFNO got a grid of 8 x 15 points; its modes 8 x 8 want at least 8 x 16; "
        "use a finer grid, or build the model with fewer modes",
    ),
    "wrong axes on the sphere": (
        lambda: on_sphere(field(1, 8, 16)),
        "SFNO got shape (1, 8, 16); it wants (batch, 1, lat, lon), 4 axes; "
        "add the one missing, as in x[None] for the batch",
    ),
    "too few points to halve": (
        lambda: unet(field(2, 1, 12, 3)),
        "UNet got a grid of 12 x 3 points; its 2 halvings want at least 4 x 4; "
        "use a finer grid, or build the model with a smaller depth",
    ),
    "one value to normalise": (
        lambda: unet(field(1, 1, 4, 4)),
        "UNet got one sample of 4 x 4 points to train on; after 2 halvings batch norm has a single value to take a "
        "variance of; give a larger batch, or call .eval()",
    ),
    "layer: wrong channels": (
        lambda: conv(field(2, 3, 12, 12)),
        "SpectralConv got shape (2, 3, 12, 12); it wants (batch, 1, n, n); "
        "move the axes, or build the layer for the channels there are",
    ),
    "layer: wrong axes": (
        lambda: sphere(field(1, 8, 16)),
        "SphericalConv got shape (1, 8, 16); it wants (batch, 1, lat, lon); give it 4 axes",
    ),
    "layer: complex": (
        lambda: conv(field().to(torch.complex64)),
        "SpectralConv got dtype complex64; it wants real floating numbers; give real and imaginary parts as channels",
    ),
    "layer: integers": (
        lambda: sphere(field(2, 1, 8, 16).long()),
        "SphericalConv got dtype int64; it wants real floating numbers; call .float() on the input",
    ),
    "layer: empty batch": (
        lambda: conv(field(0, 1, 12, 12)),
        "SpectralConv got shape (0, 1, 12, 12), which holds nothing; it wants (batch, 1, n, n); "
        "give at least one sample and one point per axis",
    ),
    "layer: another device": (
        lambda: sphere(field(2, 1, 8, 16).to("meta")),
        "SphericalConv got an input on meta, its parameters are on cpu; move one with .to()",
    ),
    # How models and layers are built.
    "unknown precision": (
        lambda: FNO(1, 1, SMALL, precision="mixt"),
        f"FNO: precision is 'mixt'; it is not a precision setting; did you mean mixed? {SETTINGS}",
    ),
    "unknown precision of a layer": (
        lambda: SpectralConv(1, 1, (4, 4), precision="haf"),
        f"SpectralConv: precision is 'haf'; it is not a precision setting; did you mean half? {SETTINGS}",
    ),
    "unknown precision later": (
        lambda: set_precision(nn.Sequential(SphericalConv(1, 1, (4, 4))), "ful"),
        f"Sequential: precision is 'ful'; it is not a precision setting; did you mean full? {SETTINGS}",
    ),
    "unknown format": (
        lambda: UNet(1, 1, SHALLOW, precision="amp-fp61"),
        f"UNet: precision.format is 'fp61'; it is not a number format; did you mean fp16? {FORMATS}",
    ),
    "unknown stabiliser": (
        lambda: FNO(1, 1, SMALL, precision="mixed+tahn"),
        "FNO: precision is 'mixed+tahn'; it names an unknown stabiliser; "
        "did you mean tanh? allowed: none, tanh, hard_clip, sigma_clip, pre_scale, norm",
    ),
    "a layer that is not there": (
        lambda: FNO(1, 1, SMALL, precision="mixed [2: full]"),
        "FNO: precision gives layer 2 a setting; the model has layers 0 to 1; name one of them",
    ),
    "mixed for a U-Net": (
        lambda: make_model(SHALLOW, 1, 1, precision="mixed"),
        "UNet: precision is 'mixed'; it has no spectral block, so choose full, amp or amp-bf16",
    ),
    "unknown transform": (
        lambda: FNO(1, 1, SMALL, transform="ftt"),  # type: ignore[arg-type]
        "SpectralConv: transform 'ftt'; did you mean fft? allowed: fft, matmul",
    ),
    "the plane's transform on the sphere": (
        lambda: SphericalConv(1, 1, (4, 4), transform="fft"),  # type: ignore[arg-type]
        "SphericalConv: transform 'fft'; allowed: sht, matmul",
    ),
    "unknown grid": (
        lambda: SphericalConv(1, 1, (4, 4), grid="equiangle"),  # type: ignore[arg-type]
        "SphericalConv: grid 'equiangle'; did you mean equiangular? allowed: equiangular, legendre-gauss",
    ),
    "no modes": (
        lambda: SpectralConv(1, 1, (0, 4)),
        "SpectralConv(1, 1, (0, 4)): channels and modes must be at least 1, "
        "with one mode count for each of 1 to 3 axes",
    ),
    "no channels": (
        lambda: make_model(SHALLOW, 1, 0),
        "UNet(1, 0): channels in and out must be at least 1; give both",
    ),
    "another model's spec": (
        lambda: FNO(1, 1, SHALLOW),  # type: ignore[arg-type]
        "FNO: spec is a UNetSpec; give a mpno.specs.FNOSpec, or use make_model",
    ),
    "a name in place of a spec": (
        lambda: make_model("fno", 1, 1),  # type: ignore[arg-type]
        "make_model: spec is a str; give a spec of mpno.specs (FNOSpec, SFNOSpec, GINOSpec or UNetSpec), as in "
        "FNOSpec(modes=(12, 12), width=32)",
    ),
    "points in place of a body": (
        lambda: GINO(0, 1)._check(torch.rand(9, 3)),
        "GINO got a Tensor; it wants a Geometry, one body with its points, latent fields and graphs; make one with "
        "mpno.Geometry.of(points, latent, radius=...)",
    ),
    "too few ranks": (
        lambda: SpectralConv(4, 4, (4, 4), contraction=ContractionSpec(factorization="tucker", rank=(2, 2))),
        "rank (2, 2) of a tucker weight of shape (4, 4, 4, 3): give 4 numbers, or one",
    ),
    # What a config says.
    "spec: unknown precision": (
        lambda: run(precision="mixt"),
        f"config.yaml: precision is 'mixt'; it is not a precision setting; did you mean mixed? {SETTINGS}",
    ),
    "spec: unknown transform": (
        lambda: run(transform="mathmul"),
        "config.yaml: transform is 'mathmul'; did you mean matmul? allowed: fft, matmul, sht",
    ),
    "spec: sht for an FNO": (
        lambda: run(transform="sht"),
        "config.yaml: transform is sht; model fno has fft and matmul; choose one",
    ),
    "spec: mixed for a U-Net": (
        lambda: run(model={"name": "unet"}, precision="mixed"),
        "config.yaml: model unet has no spectral block, so precision mixed is not for it; choose full or amp",
    ),
    "spec: schedule for a U-Net": (
        lambda: run(model={"name": "unet"}, precision="schedule"),
        "config.yaml: model unet has no spectral block, so precision schedule is not for it; choose full or amp",
    ),
    "spec: a stabiliser for a U-Net": (
        lambda: run(model={"name": "unet"}, precision="full+tanh"),
        "config.yaml: model unet has no spectral block, so precision full+tanh is not for it; choose full or amp",
    ),
    "spec: a layer that is not there": (
        lambda: run(precision="mixed [7: full]"),
        "config.yaml: precision gives layer 7 a setting; the model has layers 0 to 3; remove it",
    ),
    "spec: modes beyond the grid": (
        lambda: model(modes=[40, 40]),
        "config.yaml: model.modes (40, 40) exceed the smallest grid, 16; lower modes",
    ),
    "spec: modes of another number of axes": (
        lambda: model(modes=[4]),
        "config.yaml: model.modes (4,) are 1, fields of darcy have 2 axes; give 2 modes",
    ),
    "spec: too deep a U-Net": (
        lambda: model(name="unet", depth=5),
        "config.yaml: model.depth 5 halves a grid of at least 32 points per axis, the smallest has 16; lower depth",
    ),
    "spec: no modes": (
        lambda: model(modes=[0, 4]),
        "config.yaml: model.modes.0 is 0; it should be greater than 0",
    ),
    "spec: no width": (lambda: model(width=0), "config.yaml: model.width is 0; it should be greater than 0"),
    "spec: unknown model": (
        lambda: model(name="tfn0"),
        "config.yaml: model.name is 'tfn0'; did you mean tfno? allowed: fno, tfno, sfno, gino, unet",
    ),
    "spec: unknown field": (
        lambda: model(widht=8),
        f"config.yaml: unknown key 'model.widht' (value 8); did you mean width? {FIELDS}",
    ),
    "spec: another model's field": (
        lambda: model(name="unet", width=8),
        "config.yaml: unknown key 'model.width' (value 8); did you mean depth? allowed: depth, features, name",
    ),
    "spec: a factorisation without rank": (
        lambda: model(contraction={"factorization": "cp"}),
        "config.yaml: model.contraction: factorization cp needs a rank; "
        "give an integer, or a fraction of the dense weight's parameters, as 0.05",
    ),
    "spec: a rank without factorisation": (
        lambda: model(contraction={"rank": 3}),
        "config.yaml: model.contraction: rank 3 does not go with factorization dense, which has none; "
        "remove it, or choose cp, tucker or tt",
    ),
    "spec: many ranks for cp": (
        lambda: model(contraction={"factorization": "cp", "rank": [3, 4]}),
        "config.yaml: model.contraction: rank (3, 4) has 2 numbers, cp has one; give an integer or a fraction",
    ),
    "spec: negative padding": (
        lambda: model(padding=-0.1),
        "config.yaml: model.padding is -0.1; it should be greater than or equal to 0",
    ),
    "spec: gino on fields": (
        lambda: run(model=ON_BODIES),
        "config.yaml: model gino takes bodies, data set darcy holds fields; choose car or ahmed",
    ),
    "spec: fno on bodies": (
        lambda: run(data=CARS, training={"batch_size": 1}),
        "config.yaml: data set car holds bodies, which model fno does not take; choose model gino",
    ),
    "spec: batches of bodies": (
        lambda: run(model=ON_BODIES, data=CARS, training={"batch_size": 4}),
        "config.yaml: training.batch_size is 4; bodies differ in their points, so give 1",
    ),
    "spec: a sphere's model on a plane": (
        lambda: run(model={"name": "sfno", "modes": [4, 4]}),
        "config.yaml: model sfno takes fields on a sphere, darcy has a plane's; choose shallow-water",
    ),
    "spec: a transform for a U-Net": (
        lambda: run(model={"name": "unet", "depth": 2}, transform="matmul"),
        "config.yaml: transform is matmul; model unet has no transform to choose; leave it out",
    ),
    "sizes: one number of modes": (
        lambda: FNO(1, 1, modes=8),
        "FNO: modes is 8; it should be a list, as in [12, 12]",
    ),
    "sizes: misspelt": (
        lambda: UNet(1, 1, feature=8),
        "UNet: unknown key 'feature' (value 8); did you mean features? allowed: depth, features, name",
    ),
    "sizes: twice": (
        lambda: SFNO(3, 3, SFNOSpec(), width=8),
        "SFNO: got a spec and width beside it; give sizes one way",
    ),
}


@pytest.mark.parametrize(("model", "spec"), [(FNO, FNOSpec), (SFNO, SFNOSpec), (GINO, GINOSpec)])
def test_sizes_may_be_keywords(model: Any, spec: Any) -> None:
    sizes = {"modes": (4,) * (3 if model is GINO else 2), "width": 4, "layers": 1}
    assert model(1, 1, **sizes).spec == model(1, 1, spec(**sizes)).spec == spec(**sizes)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(name: str) -> None:
    wrong, message = WRONG[name]
    with pytest.raises(MpnoError) as caught:
        wrong()
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["fno", "unet"])
def test_what_is_right_passes(kind: str) -> None:
    """The smallest grid, fields whose layout in memory is not the usual, finite numbers whose sum overflows."""
    made = (FNO(1, 1, SMALL) if kind == "fno" else UNet(1, 1, SHALLOW)).eval()
    assert made(field(2, 1, 6, 6)).shape == (2, 1, 6, 6)
    x = torch.randn(2, 12, 12, 1).movedim(-1, 1)
    assert torch.allclose(made(x), made(x.contiguous()), atol=1e-5)
    check_field("FNO", torch.full((2, 1, 12, 12), 3e38), channels=1, axes=2, device=CPU)


def test_numbers_are_not_read_where_that_would_wait_or_fail() -> None:
    """Shapes alone, compiled code and mapped models have no numbers to look at."""
    fno_on_shapes = FNO(1, 1, SMALL).to("meta")
    assert fno_on_shapes(field().to("meta")).shape == (2, 1, 12, 12)

    def checked(x: Tensor) -> Tensor:
        check_field("FNO", x, channels=1, axes=2, device=CPU, modes=(6, 6))
        return x * 2

    assert torch.func.vmap(checked)(field(3, 2, 1, 12, 12)).shape == (3, 2, 1, 12, 12)
    compiled = torch.compile(checked, backend="eager", fullgraph=True)
    assert compiled(holed(float("nan"))).isnan().sum() == 1
