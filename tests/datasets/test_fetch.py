from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from mpno.datasets import darcy, fetch, load_split, read_attrs, verify
from mpno.datasets.fetch import Member, Package, fetch_darcy
from mpno.specs import MpnoError

INFO = "mpno_toy_data-1.0.dist-info"


@pytest.fixture
def links(tmp_path: Path) -> Path:
    return tmp_path / "links"


@pytest.fixture
def package(links: Path) -> Package:
    """A wheel in a local folder, with one split, that pip can download."""
    links.mkdir()
    saved = io.BytesIO()
    x = torch.arange(2 * 4 * 4).reshape(2, 4, 4) % 3 == 0
    torch.save({"x": x, "y": x * 2.0}, saved)
    path = links / "mpno_toy_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("data/train.pt", saved.getvalue())
        wheel.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: mpno-toy-data\nVersion: 1.0\n")
        wheel.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{INFO}/RECORD", "")
    content = path.read_bytes()
    member = Member("data/train.pt", hashlib.sha256(saved.getvalue()).hexdigest(), 2)
    digest = hashlib.sha256(content).hexdigest()
    members = MappingProxyType({("train", 4): member})
    return Package("mpno-toy-data==1.0", path.name, len(content), digest, members)


@pytest.fixture
def cached(package: Package, links: Path, tmp_path: Path) -> Path:
    """A cache that already holds the wheel, so that pip is not called."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / package.file).write_bytes((links / package.file).read_bytes())
    return cache


def refused(tmp_path: Path, package: Package, cache: Path) -> str:
    """The one line that fetching ends in, having written nothing."""
    with pytest.raises(MpnoError) as caught:
        fetch_darcy(tmp_path / "out" / "toy.h5", cache, package)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pip_downloads_from_where_pip_args_says(
    package: Package, links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_ARGS", f"--no-index --find-links '{links}'")
    fetch_darcy(tmp_path / "toy.h5", tmp_path / "cache", package)
    x, y = load_split(tmp_path / "toy.h5", "train", 4)
    np.testing.assert_array_equal(x.ravel(), np.arange(32) % 3 == 0)
    np.testing.assert_array_equal(y, 2 * x)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [package.file]


def test_cached_wheel_needs_no_pip(
    package: Package, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.subprocess, "run", None)
    fetch_darcy(tmp_path / "toy.h5", cached, package)
    verify(tmp_path / "toy.h5")


def test_no_network(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_ARGS", "--no-index")
    message = refused(tmp_path, package, tmp_path / "cache")
    assert package.file in message
    assert "No matching distribution" in message
    assert "PIP_ARGS" in message
    assert not list((tmp_path / "cache").iterdir())


def test_no_pip(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 1, "", "/usr/bin/python3: No module named pip\n")
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: answer)
    assert "ensurepip" in refused(tmp_path, package, tmp_path / "cache")


def test_unbalanced_quotes_in_pip_args(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_ARGS", "--find-links 'here")
    assert "PIP_ARGS is" in refused(tmp_path, package, tmp_path / "cache")


def test_download_of_another_file_is_not_kept(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / package.file).write_bytes(b"half of it")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", half)
    message = refused(tmp_path, package, tmp_path / "cache")
    assert f"10 bytes with sha256 {hashlib.sha256(b'half of it').hexdigest()}, expected {package.size} bytes" in message
    assert not list((tmp_path / "cache").iterdir())


def test_truncated_cached_wheel(package: Package, cached: Path, tmp_path: Path) -> None:
    wheel = cached / package.file
    wheel.write_bytes(wheel.read_bytes()[:-1])
    message = refused(tmp_path, package, cached)
    assert str(wheel) in message
    assert "delete it and fetch again" in message


@pytest.mark.parametrize(
    ("change", "word"), [({"sha256": "0" * 64}, "has sha256"), ({"path": "data/other.pt"}, "is not in it")]
)
def test_wrong_member(package: Package, cached: Path, tmp_path: Path, change: dict[str, str], word: str) -> None:
    members = MappingProxyType({("train", 4): replace(package.members["train", 4], **change)})
    message = refused(tmp_path, replace(package, members=members), cached)
    assert word in message
    assert members["train", 4].path in message


def test_cache_that_is_a_file(package: Package, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    assert "choose another cache folder" in refused(tmp_path, package, tmp_path / "cache")


def test_public_set_is_as_documented(public: Path) -> None:
    shapes = {("train", 16): 1000, ("test", 16): 50, ("test", 32): 50}
    for (split, resolution), n in shapes.items():
        x, y = load_split(public, split, resolution)
        assert x.shape == y.shape == (n, 1, resolution, resolution)
        assert set(np.unique(x)) == {0.0, 1.0}
    y = load_split(public, "train", 16).y
    assert (round(float(y.min()), 3), round(float(y.max()), 3)) == (-0.428, 2.057)
    assert (y < 0).sum() == 12
    coarse, fine = (load_split(public, "test", resolution) for resolution in (16, 32))
    np.testing.assert_array_equal(coarse.x, fine.x[..., ::2, ::2])
    np.testing.assert_array_equal(coarse.y, fine.y[..., ::2, ::2])
    attrs = read_attrs(public)
    assert attrs["digest"] == verify(public)
    assert json.loads(attrs["origin"])["sha256"] == fetch.DARCY.sha256
    assert attrs["seed"] is None


@pytest.mark.parametrize(("value", "coefficient"), [(1, darcy.SHIPPED.high), (0, darcy.SHIPPED.low)])
def test_meaning_of_x_follows_from_y(public: Path, value: int, coefficient: float) -> None:
    """Where x is uniform, -a Laplacian(y) = 1: this gives a without a solver."""
    x, y = (values[:, 0].astype(float) for values in load_split(public, "test", 32))
    laplacian = 32**2 * (y[:, 2:, 1:-1] + y[:, :-2, 1:-1] + y[:, 1:-1, 2:] + y[:, 1:-1, :-2] - 4 * y[:, 1:-1, 1:-1])
    uniform = sliding_window_view(x, (9, 9), axis=(1, 2)).mean((-1, -2)) == value
    assert uniform.sum() > 1000
    assert np.median(-1 / laplacian[:, 3:-3, 3:-3][uniform]) == pytest.approx(coefficient, rel=0.003)


def test_shipped_y_is_neither_scaled_nor_offset(public: Path) -> None:
    """Our solution on x, upsampled to 128 cells, against y: slope 1, offset small against the mean of 0.4."""
    x, y = load_split(public, "test", 32, 12)
    points = darcy.points(32)
    nearest = np.abs((np.arange(128) + 0.5)[:, None] / 128 - points).argmin(1)
    weights = darcy._interpolation(128, 32)
    solved = []
    for pattern in x[:, 0]:
        a = np.where(pattern[np.ix_(nearest, nearest)] > 0, darcy.SHIPPED.high, darcy.SHIPPED.low)
        solved.append(weights @ np.pad(darcy.solve(a), 1) @ weights.T)
    slope, offset = np.polyfit(np.ravel(solved), y.ravel(), 1)
    assert slope == pytest.approx(1, abs=0.03)
    assert offset == pytest.approx(0, abs=0.01)
