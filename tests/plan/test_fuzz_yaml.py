"""Whatever stands in config.yaml, an experiment or a change: a valid object or one line, at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpno.plan import hand_spec, load_experiments
from mpno.plan.build import build_plan
from mpno.plan.config import Config, load_config
from mpno.plan.files import parse_setting, read_yaml
from mpno.specs import MpnoError, RunSpec

ROOT = Path(__file__).resolve().parents[2]
CONFIG = (ROOT / "config.yaml").read_bytes()
SCALES = "".join(f"  {scale}: {{core_seconds: {{run: 1}}}}\n" for scale in ("smoke", "desk", "gpu", "paper"))
SEEDS = "".join(f"      {scale}: {{seeds: [0]}}\n" for scale in ("smoke", "desk", "gpu", "paper"))
EXPERIMENT = f"""\
item: toy
title: A toy
paper: no table
draws: [table]
drawn_by: settings
parts:
  - name: darcy
    base: {{data: {{name: darcy, n_train: 8}}, model: {{modes: [4, 4]}}, training: {{epochs: 1}}}}
    arms: [{{name: full}}, {{name: mixed, against: full, set: {{precision: mixed}}}}]
    scales:
{SEEDS}scales:
{SCALES}""".encode()
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{now}: &{now} [{', '.join([f'*{before}'] * 10)}]\n" for before, now in zip("abcdefghi", "bcdefghij", strict=True)
)
WORDS = st.sampled_from(
    [b"&a ", b"*a", b"!!python/name:os.system ", b"<<: ", b"[", b"{", b"- ", b"? ", b"null", b".nan", b".inf", b"-1",
     b"9" * 30, b"2020-13-45", b"3", b"[]", b"{}", b"\xff", b"\0", b"\t", b"|\n", b"''", b": ", b"#"]
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with a few places cut out or written over."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(whole)))
        end = min(len(whole), start + draw(st.integers(0, 12)))
        whole = whole[:start] + draw(WORDS | st.binary(max_size=4)) + whole[end:]
    return whole


def one_line(error: MpnoError, *parts: str) -> None:
    text = str(error)
    assert "\n" not in text and text.isprintable() and len(text) < 2000
    for part in parts:
        assert part in text


@settings(max_examples=150)
@given(spoilt(CONFIG) | st.binary(max_size=80))
@example(b"seeds: " + b"[" * 3000)
@example(LAUGHS.encode())
@example(b"scale: &a [*a]")
@example(b"scale: " + b"9" * 5000)
@example(b"seeds: 2020-13-45")
@example(b"scale: desk\nscale: smoke")
@example(b"x" * 2_000_000)
def test_any_config_is_a_config_or_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(content)
        try:
            assert isinstance(load_config(path), Config)
        except MpnoError as error:
            one_line(error, str(path))


@settings(max_examples=120)
@given(spoilt(EXPERIMENT))
def test_any_experiment_is_a_plan_or_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "experiments")
        folder.mkdir()
        (folder / "toy.yaml").write_bytes(content)
        try:
            assert build_plan(Config(scale="smoke"), folder).items
        except MpnoError as error:
            one_line(error)


@settings(max_examples=150)
@given(
    st.sampled_from(sorted([*RunSpec.model_fields, "data.name", "data.resolution", "model.name", "model.modes",
                            "data.test_resolutions", "data.source", "optimizer.lr", "training.epochs", "a.b"])),
    st.text(max_size=12) | st.from_type(float).map(str) | WORDS.map(lambda word: word.decode("latin1")),
)  # fmt: skip
def test_any_change_by_hand_is_a_run_or_one_line(key: str, value: str) -> None:
    try:
        hand_spec(EXPERIMENTS, None, "smoke", {}, [f"{key}={value}"])
    except MpnoError as error:
        one_line(error)


with tempfile.TemporaryDirectory() as _name:
    Path(_name, "experiments").mkdir()
    Path(_name, "experiments", "toy.yaml").write_bytes(EXPERIMENT)
    EXPERIMENTS = load_experiments(Path(_name, "experiments"))


def test_what_yaml_would_take_silently_is_refused(tmp_path: Path) -> None:
    for content, said in (
        ("scale: desk\nscale: smoke", "line 2: not YAML (key 'scale' stands twice)"),
        ("scale: !!str desk", "has the tag"),
        (LAUGHS, "more than 100000 values"),
        ("scale: &a [*a]", "holds itself"),
        ("scale: " + "[" * 100, "nested more than 40 deep"),
    ):
        (tmp_path / "x.yaml").write_text(content)
        with pytest.raises(MpnoError) as caught:
            read_yaml(tmp_path / "x.yaml")
        one_line(caught.value, said)


def test_what_people_write_is_read_as_before(tmp_path: Path) -> None:
    files = [ROOT / "config.yaml", *(ROOT / "workflow").glob("*/*.yaml")]
    for path in files:
        assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))
    for text, value in (("2e-3", 2e-3), ("[1, 2]", [1, 2]), ("1e5x", "1e5x"), ("[", "["), ("true", True), ("e", "e")):
        assert parse_setting(f"a={text}") == ("a", value)
