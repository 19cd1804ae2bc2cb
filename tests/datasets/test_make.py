from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mpno.datasets import generate, load_split, make, read_attrs, verify
from mpno.datasets.fetch import DARCY
from mpno.specs import DataSpec, MpnoError

SMALL = DataSpec(source="generate", resolution=8, test_resolutions=(8, 16), n_train=3, n_test=2, seed=5)


def test_generated_file_holds_what_the_spec_asks(tmp_path: Path) -> None:
    make(SMALL, tmp_path / "g.h5", cache=tmp_path / "cache")
    assert load_split(tmp_path / "g.h5", "train", 8).x.shape == (3, 1, 8, 8)
    assert load_split(tmp_path / "g.h5", "test", 8).y.shape == (2, 1, 8, 8)
    coarse, fine = (load_split(tmp_path / "g.h5", "test", resolution) for resolution in (8, 16))
    np.testing.assert_array_equal(coarse.x, fine.x[..., ::2, ::2])
    np.testing.assert_allclose(coarse.y, fine.y[..., ::2, ::2], rtol=1e-5, atol=1e-7)
    attrs = read_attrs(tmp_path / "g.h5")
    assert (attrs["seed"], attrs["digest"]) == (5, verify(tmp_path / "g.h5"))
    assert json.loads(attrs["origin"])["cells"] == 128


def test_splits_are_separate_streams_and_the_seed_counts(tmp_path: Path) -> None:
    make(SMALL, tmp_path / "a.h5", cache=tmp_path)
    train, test = (load_split(tmp_path / "a.h5", split, 8) for split in ("train", "test"))
    assert not (train.y[0] == test.y[0]).any(where=train.y[0] != 0)
    expected = generate(5, "train", [2], [8])[8]
    np.testing.assert_allclose(train.y[2:], expected.y, rtol=1e-6)
    assert not np.allclose(generate(6, "train", [2], [8])[8].y, expected.y)


def test_generated_resolution_out_of_range(tmp_path: Path) -> None:
    spec = SMALL.model_copy(update={"resolution": 1024})
    with pytest.raises(MpnoError, match="resolution 1024; allowed: 2 to 512"):
        make(spec, tmp_path / "g.h5", cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_fetched_file_from_a_broken_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / DARCY.file).write_bytes(b"")
    with pytest.raises(MpnoError, match="0 bytes"):
        make(DataSpec(), tmp_path / "f.h5", cache=tmp_path)
    assert not (tmp_path / "f.h5").exists()
