"""Precision settings: what each part is in, phases, layers, and that what is written reads back."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpno.specs import MpnoError, PrecisionSetting, TrainingSpec, build_spec
from mpno.specs.names import MIDDLES, SETTINGS, STABILISERS

TRIPLES = ["".join(letters) for letters in itertools.product("FH", repeat=3)]


def read(text: Any) -> PrecisionSetting:
    return PrecisionSetting.model_validate(text)


def formats(setting: PrecisionSetting) -> tuple[str, ...]:
    return setting.forward, setting.contraction, setting.weights, setting.inverse, setting.real


@pytest.mark.parametrize("triple", TRIPLES)
def test_the_eight_triples(triple: str) -> None:
    """Appendix B.7's rows, all with the same stabiliser and real layers, so that only the triple differs."""
    setting = read(f"mixed {triple}")
    steps = [{"F": "fp32", "H": "fp16"}[letter] for letter in triple]
    assert formats(setting) == (steps[0], steps[1], steps[1], steps[2], "fp16")
    assert (setting.triple, setting.stabiliser) == (triple, "tanh")
    assert setting.label == {"FFF": "amp+tanh", "HHH": "mixed"}.get(triple, f"mixed {triple}")


def test_no_letter_in_half_is_the_setting_it_amounts_to() -> None:
    assert read("half FFF") == read("full+tanh") and read("half-bf16 FFF+none") == read("full")
    assert read("mixed-bf16-FFF") == read("amp-bf16+tanh")


def test_weights_only() -> None:
    setting = read("mixed weights-only")
    assert formats(setting) == ("fp16", "fp32", "fp16", "fp16", "fp16")
    assert "weights of the contraction" in str(setting)


plain = st.builds(
    lambda setting, format, triple, weights, stabiliser: {
        "setting": setting,
        **({} if setting == "full" else {"format": format}),
        **({"triple": triple, "weights_only": weights and triple[1] == "H"} if setting in ("half", "mixed") else {}),
        "stabiliser": stabiliser,
    },
    st.sampled_from([name for name in SETTINGS if name != "schedule"]),
    st.sampled_from(["fp16", "bf16", "fp8_e4m3", "fp8_e4m3_sat", "e5m2"]),
    st.sampled_from(TRIPLES),
    st.booleans(),
    st.sampled_from(STABILISERS),
)
share = st.integers(0, 100)
scheduled = st.builds(
    lambda first, second, middle, stabiliser: {
        "setting": "schedule",
        "shares": (min(first, second), abs(first - second), 100 - max(first, second)),
        "middle": middle,
        "stabiliser": stabiliser,
    },
    share,
    share,
    st.sampled_from(MIDDLES),
    st.sampled_from(STABILISERS),
)
measured = st.builds(
    lambda setting, above, stabiliser: {"setting": setting, "full_above": above, "stabiliser": stabiliser},
    st.sampled_from(["half", "mixed"]),
    st.one_of(st.integers(0, 99), st.floats(0, 99.9)),
    st.sampled_from(STABILISERS),
)
layers = st.dictionaries(st.integers(0, 7), plain, max_size=4)


@given(st.one_of(plain, scheduled, measured), layers)
def test_every_form_reads_back(fields: dict[str, Any], layers: dict[int, dict[str, Any]]) -> None:
    setting = read({**fields, "layers": layers})
    assert read(setting.label) == setting
    assert read(setting.model_dump(mode="json")) == setting and read(setting.model_dump()) == setting
    assert PrecisionSetting.model_validate_json(setting.model_dump_json()) == setting
    assert hash(read(setting.label)) == hash(setting)
    assert str(setting).startswith(setting.label) and "\n" not in str(setting)
    assert setting.slug and len(setting.slug) <= 80


def test_layers_have_their_own_setting() -> None:
    setting = read("mixed [0: full, 2-3: half+none]")
    assert setting == read(
        {"setting": "mixed", "layers": {"3": "half+none", 0: "full", 2: {**dict(read("half+none"))}}}
    )
    found = [setting.layer(index).label for index in range(5)]
    assert found == ["full", "mixed", "half, stabiliser none", "half, stabiliser none", "mixed"]
    assert setting.real == "fp16" and all(setting.layer(index).layers == () for index in range(5))
    assert [variant.label for variant in setting.variants] == ["mixed", "full", "half, stabiliser none"]


def test_the_schedule_switches_where_the_authors_run_does() -> None:
    """500 epochs: 125 mixed, 250 in the middle, 125 in full; no amp and no tanh at the end."""
    setting = read("schedule")
    epochs = [setting.phase(epoch, 500) for epoch in range(1, 501)]
    lengths = [(phase.label, len(list(group))) for phase, group in itertools.groupby(epochs)]
    assert lengths == [("mixed", 125), ("mixed FHH, stabiliser none", 250), ("full", 125)]
    assert [formats(phase) for _, phase in setting.phases] == [
        ("fp16", "fp16", "fp16", "fp16", "fp16"),
        ("fp32", "fp16", "fp16", "fp16", "fp16"),
        ("fp32", "fp32", "fp32", "fp32", "fp32"),
    ]
    assert [phase.stabiliser for _, phase in setting.phases] == ["tanh", "none", "none"]
    assert formats(setting) == formats(setting.phases[0][1])  # before the first switch


def test_the_middle_phase_can_be_amp_alone_and_shares_differ() -> None:
    setting = read("schedule-bf16, middle amp, shares 50/50/0 [1: full]")
    assert [(part, phase.label) for part, phase in setting.phases] == [
        (50.0, "mixed-bf16 [1: full]"),
        (50.0, "amp-bf16 [1: full]"),
    ]
    assert setting.at(1.0).label == "amp-bf16 [1: full]" and setting.at(0.49).layer(1).label == "full"


def test_what_is_measured_decides_epoch_by_epoch() -> None:
    setting = read("mixed-bf16, full above 40 [1: half]")
    chosen = [setting.phase(epoch, 5, below=below).label for epoch, below in enumerate((None, 0.4, 0.41, 0.0, 1.0), 1)]
    low, full = "mixed-bf16 [1: half]", "full+tanh [1: half]"
    assert chosen == [low, low, full, low, full]
    assert setting.at(0.0).label == low and {phase.label for _, phase in setting.phases} == {low, full}
    assert build_spec({"precision": "mixed, full above 0", "training": {"epochs": 1}}, where="a")


def test_a_setting_that_nothing_measured_decides_is_written_as_it_was() -> None:
    """Ids of runs hash what is written."""
    assert "full_above" not in read("mixed [0: half]").model_dump(mode="json")
    assert read("mixed, full above 50").model_dump()["full_above"] == 50
    mixed, measured = (build_spec({"precision": label}, where="a") for label in ("mixed", "mixed, full above 50"))
    assert mixed.id == "darcy16_fno_mixed_fft_s0_a7e22e7d"
    assert measured.id.startswith("darcy16_fno_mixed-full-above-50_fft_s0_") and measured.id[-8:] != mixed.id[-8:]


@given(st.integers(1, 700), st.integers(0, 700), share, share)
def test_phases_come_in_order_and_last_their_share(epochs: int, epoch: int, first: int, second: int) -> None:
    shares = (min(first, second), abs(first - second), 100 - max(first, second))
    setting = read({"setting": "schedule", "shares": shares})
    order = [phase for _, phase in setting.phases]
    seen = [order.index(setting.phase(number, epochs)) for number in range(1, epochs + 1)]
    assert seen == sorted(seen)
    for index, (part, _) in enumerate(setting.phases):
        assert abs(seen.count(index) - part * epochs / 100) < 1.0


def test_a_plain_setting_is_its_own_one_phase() -> None:
    setting = read("mixed [0: full]")
    assert {setting.phase(epoch, 3) for epoch in (1, 2, 3)} == {setting}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "full HFF",
            "precision is 'full HFF'; it has setting full with triple HFF; half, mixed and schedule have an H",
        ),
        ("half HFF weights-only", "it has weights_only with triple HFF; it needs a half contraction"),
        ("mixed, shares 25/50/25", "it gives setting mixed a middle or shares; remove them or choose schedule"),
        ("schedule, full above 50", "it gives setting schedule a full above; remove it or choose half or mixed"),
        ("amp, full above 50", "it gives setting amp a full above"),
        ("mixed, full above 100", "less than 100"),
        ("mixed [1: half, full above 50]", "it gives layer 1 a schedule or layers of its own"),
        ("schedule, shares 25/50/30", "it has shares 25/50/30; make them add up to 100"),
        ("schedule, middle fun", "it names an unknown middle; allowed: code, amp"),
        ("half+tann", "it names an unknown stabiliser; did you mean tanh? allowed: none, tanh, hard_clip"),
        ("mixed [0 full]", "it has layers '0 full'; write [0: full, 2-3: half]"),
        ("mixed [0: full, 0: half]", "it names layer 0 twice"),
        ("mixed [0: haf]", "it gives layer 0 'haf', which is not a precision setting; did you mean half?"),
        ("mixed [1: schedule]", "it gives layer 1 a schedule or layers of its own"),
        ("mixed [4: full]", "precision gives layer 4 a setting; the model has layers 0 to 3"),
        ({"setting": "mixed", "layers": {"first": "full"}}, "has ('first', 'full') among its layers; write a layer"),
    ],
)
def test_mistakes_say_what_is_allowed(given: Any, message: str) -> None:
    with pytest.raises(MpnoError) as caught:
        build_spec({"precision": given}, where="here.yaml")
    text = str(caught.value)
    assert text.startswith("here.yaml: ") and message in text and "\n" not in text


def test_a_schedule_wants_an_epoch_for_each_phase() -> None:
    assert build_spec({"precision": "schedule", "training": {"epochs": 4}}, where="a").precision.label == "schedule"
    with pytest.raises(MpnoError, match=r"3 training\.epochs leave a phase of the precision schedule without any"):
        build_spec({"precision": "schedule", "training": {"epochs": 3}}, where="a")


def test_progress_outside_the_training_is_refused() -> None:
    with pytest.raises(MpnoError, match=r"progress 1\.5; it must be from 0"):
        read("schedule").at(1.5)


def test_techniques_are_off_unless_given() -> None:
    assert TrainingSpec().techniques == ""
    training = build_spec(
        {"training": {"loss_scaling": 1024, "grad_clip": 5, "delayed_updates": 3}}, where="a"
    ).training
    assert training.techniques == "loss scaling by 1024, gradients clipped at 5, an update every 3 batches"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("loss_scaling", "static", "training.loss_scaling is 'static'; it should be dynamic or a number above 0"),
        ("loss_scaling", 0, "training.loss_scaling is 0; it should be dynamic or a number above 0"),
        ("grad_clip", -5, "training.grad_clip is -5; it should be greater than 0"),
        ("delayed_updates", 1, "training.delayed_updates is 1; it should be greater than or equal to 2"),
    ],
)
def test_mistaken_techniques_are_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(MpnoError) as caught:
        build_spec({"training": {field: value}}, where="a")
    assert message in str(caught.value)
