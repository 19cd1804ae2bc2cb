"""A saved model comes back as it was, and a file that is not one is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import mpno
from mpno.models import GINO, make_model
from mpno.models.saving import read_header
from mpno.numerics import set_precision
from mpno.specs import FNOSpec, GINOSpec, ModelSpec, MpnoError

DENSE = FNOSpec(modes=(6, 4), width=6, layers=2)
FACTORISED = FNOSpec.model_validate({"name": "tfno", "modes": (6, 4), "width": 6, "layers": 2, "norm": "group"})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    mpno.save(make_model(DENSE, 2, 3), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def rewritten(path: Path, drop: str | None = None, **header: object) -> Path:
    """The file with a tensor left out or other words in its header."""
    with safe_open(path, framework="pt") as file:
        kept = json.loads(file.metadata()["mpno"])
    tensors = {name: tensor for name, tensor in load_file(path).items() if name != drop}
    save_file(tensors, path, metadata={"mpno": json.dumps({**kept, **header})})
    return path


def test_a_gino_without_features_or_latent_fields_comes_back(tmp_path: Path) -> None:
    spec = GINOSpec(modes=(4, 4, 4), width=4, layers=1, frequencies=2)
    model = GINO(0, 1, spec, latent_channels=0)
    mpno.save(model, tmp_path / "m.safetensors")
    again = mpno.load(tmp_path / "m.safetensors")
    assert isinstance(again, GINO) and (again.in_channels, again.latent_channels) == (0, 0)
    for (name, one), (other, two) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other and torch.equal(one, two)


@pytest.mark.parametrize("spec", [DENSE, FACTORISED], ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    ("precision", "transform"),
    [("full", "fft"), ("mixed", "fft"), ("mixed-bf16 FHH [0: full]", "matmul"), ("schedule", "fft")],
)
def test_a_round_trip_is_equal_bit_by_bit(spec: ModelSpec, precision: str, transform: str, tmp_path: Path) -> None:
    model = make_model(spec, 2, 3, precision=precision, transform=transform)  # pyright: ignore[reportArgumentType]
    model.eval()
    mpno.save(model, tmp_path / "m.safetensors")
    before = torch.get_rng_state()
    again = mpno.load(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), before), "loading drew random numbers"
    assert (again.spec, again.in_channels, again.out_channels) == (spec, 2, 3)
    assert again.precision == model.precision
    assert again.get_submodule("blocks.0.conv").transform == transform
    assert not again.training and all(p.requires_grad for p in again.parameters())
    x = torch.randn(2, 2, 12, 10)
    assert torch.equal(model(x), again(x))
    for (name, one), (other, two) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other and one.dtype == two.dtype and torch.equal(one, two)


def test_weights_stored_in_half_stay_so(tmp_path: Path) -> None:
    model = make_model(DENSE, 1, 1)
    for block in model.blocks:  # pyright: ignore[reportGeneralTypeIssues]
        block.conv.half()
    mpno.save(model, tmp_path / "m.safetensors")
    again = mpno.load(tmp_path / "m.safetensors")
    assert again.get_parameter("blocks.0.conv.weight").dtype is torch.float16
    assert torch.equal(again.get_parameter("blocks.0.conv.weight"), model.get_parameter("blocks.0.conv.weight"))


def test_it_can_be_loaded_in_another_setting(saved: Path) -> None:
    again = mpno.load(saved, precision="mixed FHH", transform="matmul")
    model = make_model(DENSE, 2, 3, transform="matmul")
    model.load_state_dict(load_file(saved))
    set_precision(model, "mixed FHH")
    x = torch.randn(1, 2, 12, 10)
    assert torch.equal(again(x), model(x))


def test_a_compiled_model_is_saved_as_what_it_wraps(saved: Path, tmp_path: Path) -> None:
    model = mpno.load(saved)
    mpno.save(torch.compile(model), tmp_path / "c.safetensors")  # pyright: ignore[reportArgumentType]
    assert load_file(tmp_path / "c.safetensors").keys() == model.state_dict().keys()


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_a_file_cut_short_is_refused(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(MpnoError, match=r"m\.safetensors: no whole safetensors file \(.*save it again"):
        mpno.load(saved)


def test_what_is_no_model_of_ours_is_refused(saved: Path, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    for path, message in (
        (tmp_path / "other.safetensors", "carries no spec"),
        (tmp_path / "nowhere.safetensors", "no such file"),
        (tmp_path, "no model.safetensors there"),
    ):
        with pytest.raises(MpnoError, match=message) as caught:
            mpno.load(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(MpnoError, match="Linear has no spec"):
        mpno.save(nn.Linear(2, 2), tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("drop", "header", "message"),
    [
        ("lifting.first.weight", {}, "model fno lacks lifting.first.weight; save it again"),
        (None, {"in_channels": 5}, r"lifting.first.weight of \(12, 4\), its spec says \(12, 7\)"),
        (None, {"model": {"name": "tfno", "modes": [6, 4], "width": 6, "layers": 2}}, "model tfno lacks blocks.0"),
        (None, {"model": {"modes": [6, 4], "width": 6, "layers": 1}}, "model fno has besides blocks.1.* and . more"),
        (None, {"model": {"name": "mlp"}}, "model.name is 'mlp'; allowed: fno, tfno, sfno"),
        (None, {"model": {"mods": [6, 4]}}, "unknown key 'model.mods' .*; did you mean modes"),
        (None, {"precision": "halv"}, "precision"),
    ],
)
def test_weights_of_another_architecture_are_refused(
    saved: Path, drop: str | None, header: dict[str, object], message: str
) -> None:
    with pytest.raises(MpnoError, match=message) as caught:
        mpno.load(rewritten(saved, drop, **header))
    assert "m.safetensors" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_here_is_one_line(saved: Path) -> None:
    for device in ("cuda", "qpu"):
        with pytest.raises(MpnoError, match=f"cannot go to device {device} .*choose cpu"):
            mpno.load(saved, device=device)


def test_what_else_a_file_is_to_say_is_kept_and_equal_models_have_equal_bytes(tmp_path: Path) -> None:
    model, more = make_model(DENSE, 1, 1), {"b": [1.5, 2], "a": {"c": None}}
    for name in ("one", "two"):
        mpno.save(model, tmp_path / name, more=more)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_header(tmp_path / "one").more == more
