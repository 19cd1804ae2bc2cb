"""Which data a run takes where its spec leaves it open: the source, and the sizes of a set the user has named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from mpno.specs import DataSpec, MpnoError, allowed
from mpno.specs.grid import grid_of
from mpno.specs.models import ARCHITECTURES
from mpno.specs.names import DATASETS
from mpno.specs.public import Pairs, lacking, lacking_import, ships
from mpno.specs.sets import SETS

MODES_MOST = {1: 64, 2: 32, 3: 12}
"""Most modes per axis that are taken for a grid of the user's; never more than half its points."""
_SIZES = ("resolution", "test_resolutions", "n_train", "n_test")


class Stock(Protocol):
    """What lies on this machine. No network."""

    def downloaded(self, name: str, resolutions: Sequence[int | str]) -> str | None:
        """Where checked downloads of the set at these resolutions lie; None where they do not."""
        ...

    def imported(self, name: str) -> tuple[Pairs, int] | None:
        """The pairs of an imported set and how many axes its grids have; None where there is none of this name."""
        ...

    def imports(self) -> list[str]:
        """The names of all imported sets."""
        ...


Look = Callable[[], Stock]
"""Opens the stock. A function, for most plans need none and looking costs the loading of h5py."""


def settle(
    values: Mapping[str, Any], said: Collection[str], look: Look | None, *, home: str = "darcy"
) -> tuple[dict[str, Any], str | None]:
    """Fill in the data of a run.

    The sizes of another set than the experiment's, as far as the user did not say them, are that set's own; source
    ``auto`` becomes fetch where the files ship in a small package or lie checked in the cache, else generate.

    Args:
        values: the nested spec of a run.
        said: the dotted keys the user has set.
        look: opens the stock of this machine.
        home: the data set of the experiment.

    Returns:
        The values, and in one line which source was taken and why, where that was open.

    Raises:
        MpnoError: an imported set is not there, or lacks what is asked of it.
    """
    data = dict(mapping(values, "data"))
    if not isinstance(values.get("data") or {}, Mapping) or not isinstance(data.get("name", home), str):
        return dict(values), None  # the spec says what is wrong
    known = set(data) if "data" in said else {key.removeprefix("data.") for key in said if key.startswith("data.")}
    name, source = data.get("name", home), data.get("source", "fetch")
    if name not in DATASETS and ("source" not in known or source == "auto") and look and name in look().imports():
        source = "import"
    if source == "import":
        return _with_import(values, data, {*known, "source"}, said, look), None
    if name not in DATASETS:
        if look:
            raise MpnoError(f"data.name is {name!r}; {allowed(name, [*DATASETS, *look().imports()])}")
        return dict(values), None  # the spec says what is allowed
    if name != home:
        data |= {key: value for key, value in SETS[name].defaults.items() if key not in known}
        source = source if "source" in known else "auto"
    why = None
    if source == "auto":
        source, why = _open_source(name, data, look)
    return {**values, "data": {**data, "source": source}}, why


def check_import(spec: DataSpec, look: Look | None) -> None:
    """Refuse a spec whose imported set lacks what it asks.

    Raises:
        MpnoError: names what there is.
    """
    if spec.source != "import" or look is None:
        return
    if missing := lacking_import(spec.name, _pairs(spec.name, look)[0], spec.wanted):
        raise MpnoError(f"data: {missing}")


def mapping(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The part of nested `values` at `key`; nothing where it is no mapping, of which the spec says what is wrong."""
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def fitted_modes(grid: Sequence[int]) -> list[int]:
    """Modes per axis for a grid nobody has tuned: half the points, up to ``MODES_MOST``."""
    return [max(1, min(points // 2, MODES_MOST[len(grid)])) for points in grid]


def _open_source(name: str, data: Mapping[str, Any], look: Look | None) -> tuple[str, str]:
    try:
        spec = DataSpec.model_validate({**data, "source": "generate"})
    except ValidationError:
        return "generate", ""  # the spec says what is wrong
    if ships(name, spec.wanted):
        return "fetch", f"data {name}: auto took fetch, for these files ship in a small package"
    if lacking(name, spec.wanted) is None and look and (where := look().downloaded(name, spec.resolutions)):
        return "fetch", f"data {name}: auto took fetch, for checked downloads lie in {where}"
    published = "no checked downloads of this size are here" if SETS[name].published else "it is not published"
    return "generate", f"data {name}: auto took generate, for {published}"


def _with_import(
    values: Mapping[str, Any], data: dict[str, Any], known: set[str], said: Collection[str], look: Look | None
) -> dict[str, Any]:
    """The values with the sizes of the imported set, and a model that fits its grid and its units."""
    data = {key: value for key, value in data.items() if key in (*known, "name")} | {"source": "import"}
    if look is None:
        return {**values, "data": data}
    pairs, axes = _pairs(data["name"], look)
    train = [resolution for split, resolution in pairs if split == "train"]
    tests = [resolution for split, resolution in pairs if split == "test"]
    if not train or not tests:
        lacks = "test" if train else "train"
        raise MpnoError(f"data: the imported set {data['name']!r} has no {lacks} samples; import it again (--replace)")
    try:
        asked = DataSpec.model_validate({"resolution": train[0], "test_resolutions": tests, **data})
    except ValidationError:
        return {**values, "data": data}  # the spec says what is wrong
    found = {
        "resolution": asked.resolution,
        "test_resolutions": tests,
        "n_train": pairs.get(("train", asked.resolution)) or 1,
        "n_test": min((pairs["test", r] or 1 for r in asked.test_resolutions if ("test", r) in pairs), default=1),
    }
    out = {**values, "data": {**found, **data}}
    model = mapping(values, "model")
    fields = getattr(ARCHITECTURES.get(model.get("name", "fno")), "model_fields", ())
    on_grid = "modes" in fields and model.get("name") != "gino"  # whose modes are those of its latent grid
    if not {"model", "model.modes"} & set(said) and on_grid:
        smallest = [min(side) for side in zip(*(grid_of(r, axes) for r in (asked.resolution, *tests)), strict=True)]
        if model.get("name") == "sfno":  # of the sphere's 2n longitudes, orders up to n are resolved
            smallest[-1] //= 2
        out["model"] = {**model, "modes": fitted_modes(smallest)}
    if not {"training", "training.normalise_output"} & set(said):
        # Any units may come: the model learns the standardised target, errors stay in the data's units.
        out["training"] = {**mapping(values, "training"), "normalise_output": True}
    return out


def _pairs(name: str, look: Look) -> tuple[Pairs, int]:
    stock = look()
    found = stock.imported(name)
    if found is None:
        there = ", ".join(stock.imports()) or "none yet"
        raise MpnoError(
            f"data: no imported set {name!r}; imported: {there}; "
            f"import it: python -m mpno data import FILE --input KEY --target KEY --name {name}"
        )
    return found
