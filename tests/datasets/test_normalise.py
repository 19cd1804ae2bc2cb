from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from mpno.datasets import Normaliser
from mpno.specs import MpnoError

RNG = np.random.default_rng(0)
VALUES = (RNG.standard_normal((40, 2, 6, 5)) * np.array([3.0, 0.01])[:, None, None] + 7).astype(np.float32)


def test_encoded_channels_have_zero_mean_and_unit_deviation() -> None:
    encoded = Normaliser.fit(VALUES).encode(VALUES)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded.mean((0, 2, 3)), 0, atol=2e-3)
    np.testing.assert_allclose(encoded.std((0, 2, 3)), 1, rtol=1e-3)


def test_tensors_and_arrays_agree_and_decode_undoes_encode() -> None:
    fitted = Normaliser.fit(VALUES)
    tensor = torch.as_tensor(VALUES).requires_grad_()
    encoded = fitted.encode(tensor)
    torch.testing.assert_close(encoded.detach(), torch.as_tensor(fitted.encode(VALUES)))
    torch.testing.assert_close(fitted.decode(encoded).detach(), tensor.detach(), rtol=1e-6, atol=1e-6)
    fitted.decode(tensor).sum().backward()
    assert tensor.grad is not None
    torch.testing.assert_close(tensor.grad[0, :, 0, 0], torch.tensor(fitted.std))


def test_state_survives_json() -> None:
    fitted = Normaliser.fit(torch.as_tensor(VALUES))
    state = json.loads(json.dumps(asdict(fitted)))
    assert Normaliser(tuple(state["mean"]), tuple(state["std"])) == fitted


def test_constant_channel_encodes_to_zeros() -> None:
    constant = np.full((3, 1, 4, 4), 2.5)
    assert (Normaliser.fit(constant).encode(constant) == 0).all()


def test_identity_changes_nothing() -> None:
    assert (Normaliser.identity(2).encode(VALUES) == VALUES).all()
    assert (Normaliser.identity(2).decode(VALUES) == VALUES).all()


@pytest.mark.parametrize(
    ("values", "word"), [(np.zeros(3), "shape"), (np.zeros((0, 1, 2)), "shape"), (np.full((1, 1, 2), np.nan), "finite")]
)
def test_what_cannot_be_fitted_is_refused(values: np.ndarray, word: str) -> None:
    with pytest.raises(MpnoError, match=word):
        Normaliser.fit(values)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(MpnoError, match="2 channels"):
        Normaliser.fit(VALUES).encode(VALUES[:, :1])
