"""Resolutions: one number, or one per axis."""

from __future__ import annotations

from typing import Any

import pytest

from mpno.specs import DataSpec, MpnoError, build_spec
from mpno.specs.grid import by_size, grid_of, parse_resolution, resolution_of, shown

MINE = {"name": "mine", "source": "import", "resolution": "60x100", "test_resolutions": ["60x100"]}


@pytest.mark.parametrize(
    ("given", "axes", "points", "canonical"),
    [
        (16, 2, (16, 16), 16),
        ("16x16", 2, (16, 16), 16),
        ("60x100", 2, (60, 100), "60x100"),
        ("8x8x8", 3, (8, 8, 8), 8),
        ("8x9x8", 3, (8, 9, 8), "8x9x8"),
        ("200", 1, (200,), 200),
    ],
)
def test_a_grid_has_one_way_to_be_written(given: Any, axes: int, points: tuple[int, ...], canonical: Any) -> None:
    spec = DataSpec(name="mine", source="import", resolution=given, test_resolutions=(given,))
    assert spec.resolution == canonical == resolution_of(points) == parse_resolution(given)
    assert grid_of(spec.resolution, axes) == points
    assert shown(spec.resolution, axes) == "x".join(map(str, points))


def test_the_sphere_has_twice_as_many_longitudes() -> None:
    assert grid_of(32, name="shallow-water") == (32, 64)


def test_resolutions_are_sorted_by_points_and_stand_once() -> None:
    assert by_size([128, "60x100", 16, 128]) == (16, "60x100", 128)
    assert DataSpec(test_resolutions=(32, 16, 32)) == DataSpec(test_resolutions=(16, 32))


def test_ids_and_files_say_the_grid() -> None:
    run = build_spec({"data": MINE, "model": {"modes": [12, 24]}}, where="test")
    assert run.id.startswith("mine60x100_fno_")
    assert (run.data.slug, DataSpec().slug) == ("mine", "darcy-fetch")
    sizes = DataSpec(source="generate", resolution=8, test_resolutions=(16, 8), n_train=3, n_test=2)
    assert sizes.slug == "darcy-generate-public-8-16-n3-2-s0"
    large = DataSpec(resolution=128, test_resolutions=(128,), n_train=300)
    assert (large.shipped, large.slug) == (False, "darcy-fetch-128-n300-50")


@pytest.mark.parametrize(
    ("data", "modes", "message"),
    [
        ({"resolution": 0}, [1, 1], "resolution is 0; it must be points along each axis"),
        ({"resolution": True}, [1, 1], "resolution is True"),
        ({"resolution": "60x"}, [1, 1], "such as 60x100"),
        ({"test_resolutions": ["a"]}, [1, 1], "test_resolutions.0 is 'a'"),
        ({"test_resolutions": ["8x9x8"]}, [1, 1], "number of axes"),
        ({}, [64, 64], "exceed the smallest grid, 60x100; lower modes"),
        ({}, [12, 12, 12], "are 3, resolution 60x100 has 2 axes"),
        ({"name": "Mine"}, [1, 1], "lower-case letters"),
        ({"name": "darcy"}, [1, 1], "no set of the paper"),
        ({"source": "generate", "name": "darcy"}, [1, 1], "the grids of darcy have one number"),
        (
            {"source": "fetch", "name": "ahmed", "resolution": 8, "test_resolutions": [8]},
            [1, 1],
            "ahmed is not published",
        ),
    ],
)
def test_mistakes_are_one_line(data: dict[str, Any], modes: list[int], message: str) -> None:
    with pytest.raises(MpnoError, match=message):
        build_spec({"data": MINE | data, "model": {"modes": modes}}, where="test")
