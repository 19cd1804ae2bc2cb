"""The gallery: spectra against what is known of them, the panels of each picture, and that odd data are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import trimesh
from matplotlib.figure import Figure
from PIL import Image

from mpno.datasets import write_store
from mpno.datasets.meshes import Body, write_bodies
from mpno.paper.execute import run_notebook
from mpno.paper.gallery import draw_overview, draw_set, read_set, save_picture, set_notes
from mpno.paper.gallery_bodies import BodySet, directions
from mpno.paper.gallery_checks import differing
from mpno.paper.gallery_grids import SHOWN
from mpno.paper.gallery_read import GridSet
from mpno.paper.spectra import energy_spectrum, zonal_spectrum

ROOT = Path(__file__).resolve().parents[2]
DENSITY, SPEED = 1.2, 30.0
ATTRS: dict[str, Any] = {
    "name": "toy",
    "title": "A toy",
    "source": "generate",
    "units_x": ["K", "m s-1"],
    "units_y": "Pa",
    "licence": "CC0",
    "citation": "Toy, 1999",
    "origin": json.dumps({"generator": "toy.make", "density": DENSITY}),
    "seed": 7,
    "periodic": True,
}
EPS = np.finfo(np.float64).eps


# spectra


@pytest.mark.parametrize(
    ("grid", "waves", "shell"), [((24,), (5,), 5), ((32, 48), (3, -4), 5), ((16, 20, 18), (2, 3, 6), 7)]
)
def test_a_wave_has_its_energy_at_its_own_wavenumber(grid: tuple[int, ...], waves: tuple[int, ...], shell: int) -> None:
    places = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in grid), indexing="ij")
    phase = sum(wave * place for wave, place in zip(waves, places, strict=True))
    found, energy = energy_spectrum(11 + 3 * np.cos(np.asarray(phase) + 0.3)[None])
    assert found.tolist() == list(range(1, (min(grid) - 1) // 2 + 1))
    wanted = np.where(found == shell, 3**2 / 4, 0.0)
    # Coefficients of a field of size 14, transformed with an error of a few roundings.
    np.testing.assert_allclose(energy, wanted, atol=3 * 14 * EPS * 50)


def test_white_noise_has_the_energy_of_the_modes_in_each_shell() -> None:
    n, count, variance = 32, 40, 4.0
    fields = 2.0 * np.random.default_rng(3).standard_normal((count, n, n))
    found, energy = energy_spectrum(fields)
    for wave, value in zip(found, energy, strict=True):
        modes = sum(
            wave - 0.5 <= (i * i + j * j) ** 0.5 < wave + 0.5 for i in range(-16, 16) for j in range(-16, 16)
        )  # fmt: skip
        # Half of the modes are the others' conjugates; the power of each is exponentially distributed.
        deviations = abs(value / (modes * variance / (2 * n * n)) - 1) * np.sqrt(count * modes / 2)
        assert deviations < 4.5


def test_one_function_has_one_spectrum_on_every_grid_that_resolves_it() -> None:
    rng = np.random.default_rng(5)
    amplitudes, phases = rng.standard_normal((2, 6, 6))

    def sampled(n: int) -> np.ndarray:
        x = 2 * np.pi * np.arange(n) / n
        terms = (amplitudes[i, j] * np.cos(i * x[:, None] + j * x + phases[i, j]) for i in range(6) for j in range(6))
        return np.sum(list(terms), axis=0)[None]

    (_, coarse), (_, fine) = (energy_spectrum(sampled(n)) for n in (20, 50))
    np.testing.assert_allclose(coarse, fine[: len(coarse)], rtol=1e-10, atol=1e-25)
    # All there is: half the variance, in wavenumbers below sqrt(50).
    assert coarse.sum() == pytest.approx(sampled(50).var() / 2, rel=1e-12)


def test_a_hann_window_spreads_a_wave_over_three_wavenumbers_and_hides_the_edge() -> None:
    x = np.arange(64) / 64
    _, energy = energy_spectrum(100 + 3 * np.cos(2 * np.pi * 10 * x)[None], periodic=False)
    np.testing.assert_allclose(energy[8:11] / (9 / 4), [1 / 6, 2 / 3, 1 / 6], rtol=1e-10)
    assert energy[:8].max() < 1e-20  # the mean is not spread
    ramp = (5 * x + 100)[None]
    tails = [energy_spectrum(ramp, periodic=periodic)[1][20] for periodic in (True, False)]
    assert tails[1] < 1e-4 * tails[0]  # a jump falls as k^-2, what the window leaves as k^-6


def test_zonal_spectrum_is_the_mean_over_the_sphere() -> None:
    latitudes, longitudes = 65, 128
    colatitude = np.pi * np.arange(latitudes) / (latitudes - 1)
    wave = 3 * np.cos(2 * np.pi * 5 * np.arange(longitudes) / longitudes)
    found, energy = zonal_spectrum(np.tile(wave, (2, latitudes, 1)))
    assert energy[found == 5] == pytest.approx(9 / 4, rel=1e-12) and energy[found != 5].max() < 1e-25
    # The mean of sin^2 over the sphere is 2/3; the sum over latitudes is a trapezoidal rule, of error h^2.
    _, energy = zonal_spectrum((np.sin(colatitude)[:, None] * wave)[None])
    assert energy[4] == pytest.approx(9 / 4 * 2 / 3, rel=(np.pi / 64) ** 2)


# sets on grids


def grid_arrays(n_train: int = 12, n_test: int = 10) -> dict[str, np.ndarray]:
    """Two channels to one; training at 12, tests at 12 and 24."""
    rng = np.random.default_rng(1)
    return {
        f"{split}/{n}/{kind}": rng.standard_normal((count, channels, n, n))
        for split, n, count in (("train", 12, n_train), ("test", 12, n_test), ("test", 24, n_test))
        for kind, channels in (("x", 2), ("y", 1))
    }


def write_grids(path: Path, arrays: dict[str, np.ndarray] | None = None, **more: Any) -> Path:
    write_store(path, arrays or grid_arrays(), ATTRS | more, {"x": "", "y": ""})
    return path


def grids(path: Path) -> GridSet:
    data = read_set(path)
    assert isinstance(data, GridSet)
    return data


def texts(figure: Figure) -> list[str]:
    """All that is written inside panels."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def labels(figure: Figure) -> str:
    return " | ".join(f"{axes.get_xlabel()} {axes.get_ylabel()}".replace("\n", " ") for axes in figure.axes)


def test_a_row_per_field_with_units(tmp_path: Path) -> None:
    data = grids(write_grids(tmp_path / "toy.h5"))
    figure = draw_set(data)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert len(bars) == 3 and len(figure.axes) - len(bars) == 3 * (SHOWN + 2 + 2)
    for part in ("input 0: K", "input 1: m s-1", "target: Pa", "radial wavenumber"):
        assert part in labels(figure)
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images and axes not in bars]
    assert [image.shape for image in images if image is not None] == [(12, 12)] * 4 + [(24, 24)] + (
        [(12, 12)] * 4 + [(24, 24)]
    ) * 2
    assert np.array_equal(np.asarray(images[1]), data.arrays["train", 12, "x"][1, 0])
    assert np.array_equal(np.asarray(images[4]), data.arrays["test", 24, "x"][0, 0])
    titles = [axes.get_title() for axes in figure.axes[: SHOWN + 2]]
    assert titles == ["train 0, 12x12", "train 1, 12x12", "train 2, 12x12", "test 0, 12x12", "test 0, 24x24"]
    assert data.findings == [] and len(data.remarks) == 2 * 3
    low, high = (of(data.arrays["test", 24, "y"]) for of in (np.min, np.max))
    assert f"test at 24 {low:.3g} to {high:.3g}" in data.remarks[4]


def test_source_and_worth_stand_above_the_picture(tmp_path: Path) -> None:
    figure = draw_set(read_set(write_grids(tmp_path / "toy.h5")))
    head = figure.get_suptitle()
    for part in ("A toy", "12 train at 12x12", "solved here", "toy.make", "seed 7", "CC0", "Toy, 1999"):
        assert part in head


def test_values_that_are_not_finite_are_said_and_the_rest_is_drawn(tmp_path: Path) -> None:
    with h5py.File(write_grids(tmp_path / "toy.h5"), "r+") as file:
        array: Any = file["test/24/y"]
        array[2, 0, 3, 3] = np.nan
    data = grids(tmp_path / "toy.h5")
    assert data.findings == ["test/24/y holds values that are not finite"]
    assert "**look**: test/24/y holds values that are not finite" in set_notes(data)
    figure = draw_set(data)
    assert "LOOK: test/24/y" in figure.get_suptitle()
    assert [text for text in texts(figure) if text] == ["not there or\ncannot be read"]


def test_a_constant_field_is_said(tmp_path: Path) -> None:
    arrays = {key: np.full_like(array, 2.5) if key.endswith("y") else array for key, array in grid_arrays().items()}
    data = grids(write_grids(tmp_path / "toy.h5", arrays))
    assert data.findings == ["train target at 12 is constant, 2.5", "test target at 12 is constant, 2.5"]
    assert {"constant:\n2.5", "no spectrum:\nconstant or not read"} == set(texts(draw_set(data)))


def test_splits_of_different_laws_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    same = {f"{i}": rng.standard_normal(30) for i in range(20)}
    assert differing(same, {name: rng.standard_normal(25) for name in same}) == []
    (found,) = differing(same, {"3": rng.standard_normal(25) + 4, "none": np.zeros(3)})
    assert found.startswith("train and test differ in the 3: ")


def test_a_test_set_in_another_unit_is_found_in_a_file(tmp_path: Path) -> None:
    arrays = {key: 1000 * array if key == "test/12/y" else array for key, array in grid_arrays(20, 20).items()}
    data = grids(write_grids(tmp_path / "toy.h5", arrays))
    assert "train and test differ in the spread of target" in " ".join(data.findings)
    assert not any("input" in finding for finding in data.findings)
    (remark,) = (remark for remark in data.remarks if "spectra of test target" in remark)
    assert float(remark.partition("at most ")[2].split()[0]) > 1e6  # the square of a thousand, in per cent


@pytest.mark.parametrize("grid", [(9,), (6, 9), (4, 5, 6)])
def test_grids_of_one_to_three_axes_without_tests(tmp_path: Path, grid: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    key = "x".join(map(str, grid))
    arrays = {
        f"{split}/{key}/{kind}": rng.standard_normal((2, 1, *grid)) for split in ("train", "test") for kind in "xy"
    }
    path = write_grids(tmp_path / "toy.h5", arrays, units_x="not stated", periodic=False, source="import")
    figure = draw_set(read_set(path))
    assert "unit not stated" in labels(figure)
    assert "not there" in " ".join(texts(figure))  # a third training sample


# sets of bodies


def body(index: int, **more: Any) -> Body:
    """An ellipsoid over the ground, with a pressure that rises with height."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    size = np.array([1.0, 0.4, 0.3]) * (1 + 0.02 * index)
    vertices = ball.vertices * size + [0, 0, 0.5]
    box = np.array([[-1.5, -0.6, 0.0], [1.5, 0.6, 1.4]])
    points = np.stack(np.meshgrid(*np.linspace(box[0], box[1], 12).T, indexing="ij"), axis=-1)
    made = Body(
        vertices=vertices,
        triangles=ball.faces,
        normals=ball.vertex_normals,
        areas=np.ones(len(vertices)),
        pressure=100 * (vertices[:, 2] - 0.5) + index,
        parameters=size[:2],
        inlet_speed=SPEED,
        sdf=np.linalg.norm((points - [0, 0, 0.5]) / size, axis=-1) - 1,
        box=box,
    )
    return replace(made, **more)


def bodies(path: Path, **more: Any) -> BodySet:
    attrs = {key: value for key, value in ATTRS.items() if key != "periodic"}
    attrs |= {"units_x": "m", "evidence": "stand-in data", "parameter_names": ["length", "inlet_speed"]}

    def split(first: int, count: int) -> Iterator[Body]:
        return (body(first + i, **more) for i in range(count))

    write_bodies(path, {"train": split(0, 4), "test": split(10, 3)}, attrs)
    data = read_set(path)
    assert isinstance(data, BodySet)
    return data


def test_bodies_from_two_sides_cut_and_counted(tmp_path: Path) -> None:
    data = bodies(tmp_path / "b.h5")
    figure = draw_set(data)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    shown = [axes for axes in figure.axes if axes not in bars and axes.axison]
    assert len(bars) == 2 and len(shown) == 3 * 3 + 2 + 2
    found = labels(figure)
    for part in ("x, m", "z, m", "pressure coefficient, dimensionless", "distance, m", "Pa", "inlet speed, m/s"):
        assert part in found
    assert "evidence: stand-in data, solved here" in figure.get_suptitle()
    one = data.bodies["train"][1]
    np.testing.assert_allclose(data.coloured(one), one.pressure / (0.5 * DENSITY * SPEED**2), rtol=1e-6)


def test_what_faces_the_viewer_is_drawn(tmp_path: Path) -> None:
    data = bodies(tmp_path / "b.h5")
    figure = draw_set(data)
    ball = trimesh.creation.icosphere(subdivisions=2)
    for row, (axis, sign) in enumerate([(1, -1), (2, 1)]):  # from the side at low y, from above
        (drawn,) = figure.axes[3 * row].collections
        triangles = np.asarray(drawn._triangulation.triangles)  # pyright: ignore[reportAttributeAccessIssue]
        facing = ball.faces[sign * ball.triangles_center[:, axis] > 0]
        assert {tuple(sorted(one)) for one in triangles.tolist()} == {tuple(sorted(one)) for one in facing.tolist()}
        depth = sign * data.bodies["train"][0].vertices[triangles][:, :, axis].mean(axis=1)
        assert (np.diff(depth) >= -1e-6).all()  # the near ones last


def test_the_zero_line_of_the_distance_is_the_outline(tmp_path: Path) -> None:
    cut = draw_set(bodies(tmp_path / "b.h5")).axes[6]
    (outline,) = cut.collections[-1].get_paths()
    at = outline.vertices / [1.0, 0.3] - [0, 0.5 / 0.3]  # pyright: ignore[reportOperatorIssue]
    # Linear interpolation on a grid of 12 points, between planes 0.055 off the middle.
    np.testing.assert_allclose(np.linalg.norm(np.asarray(at), axis=1), 1, atol=0.1)


def test_without_inlet_speed_it_is_pressure(tmp_path: Path) -> None:
    data = bodies(tmp_path / "b.h5", inlet_speed=None)
    assert data.quantity == "pressure, Pa"
    assert np.array_equal(data.coloured(data.bodies["train"][0]), data.bodies["train"][0].pressure)
    assert "coefficient" not in labels(draw_set(data))


def test_odd_bodies_are_named(tmp_path: Path) -> None:
    data = bodies(tmp_path / "b.h5", pressure=np.full(162, 3.0), sdf=np.ones((8, 8, 8)) + np.arange(8))
    assert "train 0: the distance has one sign, 1 at least" in data.findings
    assert sum("the pressure is constant" in finding for finding in data.findings) == 7
    draw_set(data)
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        for index in range(4):
            pressure: Any = file[f"train/{index:05d}/pressure"]
            pressure[:] = np.nan
    broken = read_set(tmp_path / "b.h5")
    assert "train/00000/pressure holds values that are not finite" in broken.findings
    assert "test 0" in draw_set(broken).axes[0].get_title()


def test_directions_follow_the_box(tmp_path: Path) -> None:
    data = bodies(tmp_path / "b.h5")
    assert directions(data) == (0, 1, 2)
    # The published cars stand in a frame of their own, here: upwards is y, along is z.
    for made in data.all():
        made.box[:] = made.box[:, [1, 2, 0]]
    assert directions(data) == (2, 0, 1)


# files


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    path = write_grids(tmp_path / "toy.h5")
    first, second = (save_picture(draw_set(read_set(path)), tmp_path / name, "toy") for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_the_notebook_draws_every_file(tmp_path: Path) -> None:
    files = [write_grids(tmp_path / "one.h5"), tmp_path / "two.h5"]
    bodies(files[1])
    out = tmp_path / "gallery" / "gallery.ipynb"
    parameters = {"data": [str(file) for file in files], "out": str(out.parent)}
    run_notebook(ROOT / "notebooks" / "gallery.ipynb", parameters=parameters, out=out)
    assert {path.name for path in out.parent.glob("*.png")} == {"one.png", "two.png", "overview.png"}
    assert out.with_suffix(".html").read_text().count("Toy, 1999") >= 2
    wide, high = Image.open(out.parent / "overview.png").size
    assert wide > high > 300


def test_overview_has_two_pictures_per_set(tmp_path: Path) -> None:
    path = write_grids(tmp_path / "one.h5")
    bodies(tmp_path / "two.h5")
    figure = draw_overview([path, tmp_path / "two.h5", path])
    assert len(figure.axes) == 6
