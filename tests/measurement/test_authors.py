"""The authors' way to run our parameters: the same numbers, other bytes."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from mpno import FNO, MpnoError
from mpno.measurement.accounting import Step, account
from mpno.measurement.authors import AuthorsFNO, Execution
from mpno.specs import ContractionSpec, FNOSpec, PrecisionSetting
from mpno.specs.names import ContractionOption

CORNERS = ContractionSpec(factorization="cp", rank=6, layout="corners")
SMALL = FNOSpec(name="tfno", modes=(8, 8), width=6, layers=3, norm="group", contraction=CORNERS)


def small(**changes: object) -> FNO:
    torch.manual_seed(0)
    model = FNO(1, 1, SMALL.model_copy(update=changes), precision="full")
    for parameter in model.parameters():  # gains and gates are ones, shifts zeros: drawn, they are told apart
        with torch.no_grad():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("norm", ["group", "none"])
def test_full_gives_the_numbers_of_ours(norm: str) -> None:
    """But for the last block, within which theirs has one activation more."""
    model = small(norm=norm)
    x = torch.randn(2, 6, 16, 16)
    y = x.movedim(1, -1)
    for block in model.blocks[:-1]:
        y = block(y)
    theirs = AuthorsFNO(model, Execution())
    theirs.blocks, theirs.convs = theirs.blocks[:-1], theirs.convs[:-1]
    assert torch.allclose(theirs.through_blocks(x), y.movedim(-1, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_every_option_contracts_alike(option: ContractionOption) -> None:
    """In half on the CPU, against float64."""
    model = small()
    theirs = AuthorsFNO(model, Execution("HHH", amp=True, option=option))
    weights = [torch.view_as_complex(p) for p in model.blocks[0].conv.weight.parts[0]]  # type: ignore[union-attr,index]
    s = torch.randn(2, 6, 4, 4, dtype=torch.complex64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")
        found = theirs.convs[0].contracted(s.to(torch.complex32), weights)  # type: ignore[operator]
    assert found.dtype is torch.complex32
    found, *wide = (t.to(torch.complex128) for t in (found, s, *weights))
    expected = torch.einsum("abcd,e,be,fe,ce,de->afcd", *wide)
    assert torch.linalg.norm(found - expected) < 4e-3 * torch.linalg.norm(expected)


def bytes_of(how: Execution) -> Step:
    spec = SMALL.model_copy(update={"width": 32, "modes": (16, 16)})
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")
        model = AuthorsFNO(FNO(1, 1, spec), how)
        x = torch.empty(8, 3, 64, 64)
        return account(lambda: model(x).square().sum(), model, torch.optim.Adam(model.parameters()), [x])


def test_what_half_keeps() -> None:
    field = 8 * 32 * 64 * 64
    full, transformed, mixed, entered = (
        bytes_of(how).share("activations")
        for how in (
            Execution(),
            Execution("HFF"),
            Execution("HFF", amp=True, entry=False),
            Execution("HFF", amp=True, entry=True),
        )
    )
    # tanh keeps its result, in two bytes, in each of three layers; spectra in full are what they were.
    assert transformed - full == 3 * 2 * field
    # A gate keeps a block's input in fp32, a product a copy in half: cast at the entry, the copy takes the place of
    # both. The first block's comes from the lifting, in half as it is.
    assert mixed - entered == 2 * 4 * field


@pytest.mark.parametrize(
    "changes",
    [{"modes": (8,)}, {"contraction": None}, {"skip": "identity"}, {"padding": 0.1}, {"norm": "instance"}],
)
def test_other_models_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MpnoError, match=r"AuthorsFNO: model .*; allowed: two axes, CP weights in corners"):
        AuthorsFNO(FNO(1, 1, SMALL.model_copy(update=changes)), Execution())


@pytest.mark.parametrize("setting", ["schedule", "mixed+pre_scale", "mixed [1: full]"])
def test_other_settings_are_refused(setting: str) -> None:
    with pytest.raises(MpnoError, match=r"AuthorsFNO: .*; allowed: full, amp, half and mixed"):
        Execution.of(PrecisionSetting.model_validate(setting))


def test_a_setting_says_how() -> None:
    assert Execution.of(PrecisionSetting.model_validate("mixed HFF")) == Execution("HFF", amp=True)
    assert Execution.of(PrecisionSetting.model_validate("half")) == Execution("HHH", amp=False)
    assert Execution.of(PrecisionSetting.model_validate("amp")) == Execution("FFF", amp=True, before="none")
    assert Execution.of(PrecisionSetting.model_validate("mixed weights-only")).weights_only


def test_shapes_are_those_of_ours() -> None:
    x: Tensor = torch.randn(2, 3, 16, 16)
    assert AuthorsFNO(small(), Execution())(x).shape == (2, 1, 16, 16)
