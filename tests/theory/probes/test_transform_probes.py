"""Layers in other bases: rounding within its bound, and small trainings that are paired."""

from __future__ import annotations

import math

import pytest
import torch

from mpno.specs import MpnoError
from mpno.theory.probes._transforms import Domain, domains
from mpno.theory.probes.transform_errors import analysis_errors, transform_errors
from mpno.theory.probes.transform_training import transform_training


@pytest.fixture(scope="module")
def each() -> list[Domain]:
    return list(domains())


def test_no_coefficient_errs_by_more_than_its_bound(each: list[Domain]) -> None:
    """And the bound is not empty: what 2 mantissa bits do breaks that of 10."""
    for domain in each:
        values = domain.fields(40, seed=3).tanh()
        for format in ("fp16", "bf16", "fp8_e5m2"):
            error, bound = analysis_errors(domain.basis, values, format)
            assert 0 < (error / bound).max() < 1
        coarse, _ = analysis_errors(domain.basis, values, "fp8_e5m2")
        _, fine = analysis_errors(domain.basis, values, "fp16")
        assert (coarse / fine).max() > 1


def test_the_bound_is_kept_where_it_is_nearly_reached(each: list[Domain]) -> None:
    """Values whose every rounding goes the way of the function's sign: midpoints above a power of two."""
    (wavelet, *_) = each
    middle = (1 + 2.0**-11 * (1 - 1e-6)) / 2
    values = middle * wavelet.basis.synthesis.T.sign()[:4]
    error, bound = analysis_errors(wavelet.basis, values, "fp16")
    share = error[:, :4].diagonal() / bound[:, :4].diagonal()
    assert share.min() > 0.01 and share.max() < 1


def test_a_layer_loses_what_its_format_lacks() -> None:
    rows = transform_errors([], {"fields": 10, "formats": ["fp16", "fp8_e5m2"]})
    assert {row["basis"] for row in rows} == {"wavelet", "sphere", "graph"} and len(rows) == 6
    for fine, coarse in zip(rows[::2], rows[1::2], strict=True):
        assert 30 < coarse["layer"] / fine["layer"] < 1000  # 256 between the roundoffs
        assert fine["ratio"] < 1 and fine["evidence"] == "emulated"


def test_solutions_solve_what_they_should(each: list[Domain]) -> None:
    for domain in each:
        g = domain.fields(3, seed=1)
        assert float(domain.fields(500, seed=2).square().mean()) == pytest.approx(1.0)
        u = domain.solve(g)
        left = u @ domain.stiffness.T + g.exp() * u
        torch.testing.assert_close(left, torch.ones_like(u), rtol=1e-9, atol=1e-9)
        # Nothing diffuses out of a constant.
        ones = torch.ones(len(domain.stiffness), dtype=torch.float64)
        torch.testing.assert_close(domain.stiffness @ ones, 0 * ones, atol=1e-9, rtol=0)


def test_trainings_are_paired_and_repeat() -> None:
    asked = {"precisions": ["full", "full+tanh"], "seeds": 2, "train": 10, "test": 2, "epochs": 1}
    rows = transform_training([], asked)
    again = transform_training([], {**asked, "seeds": 1})
    assert again == [row for row in rows if row["seed"] == 0]
    found = {(row["basis"], row["setting"], row["seed"]): row["l2"] for row in rows}
    assert len(found) == 3 * 2 * 2 and all(map(math.isfinite, found.values()))
    for basis in ("wavelet", "sphere", "graph"):
        tanh, other = (abs(found[basis, *key] - found[basis, "full", 0]) for key in (("full+tanh", 0), ("full", 1)))
        assert 0 < tanh < other, "the same start and order: a setting changes less than another seed"
    with pytest.raises(MpnoError, match="mixt"):
        transform_training([], {**asked, "precisions": ["mixt"]})
