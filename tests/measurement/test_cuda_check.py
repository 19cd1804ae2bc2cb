"""The check of a GPU, run on shapes and with a CPU or given numbers in the GPU's place: every verdict, both ways."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mpno.measurement.cuda_check import (
    Record,
    bench,
    contractions,
    cuda_check,
    kernels,
    run,
    steps,
    training,
    transforms,
)
from mpno.measurement.cuda_check.answers import Answer, Question, distance
from mpno.measurement.cuda_check.bench import Bench, CudaBench, Peak, Spread
from mpno.measurement.cuda_check.record import Case, Check, failed, judged
from mpno.measurement.memory import predict_bytes
from mpno.measurement.probes.contraction import Layer
from mpno.specs import FNOSpec

CPU = torch.device("cpu")
META = torch.device("meta")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that a test has time for. What is asked of them stays the same."""
    model = {**steps.RUN["model"], "modes": [8, 8], "width": 8, "layers": 1}
    data = {**steps.RUN["data"], "resolution": 16, "test_resolutions": [16]}
    monkeypatch.setattr(steps, "RUN", {"data": data, "model": model, "training": {"batch_size": 2, "loss": "h1"}})
    model = {**training.RUN["model"], "modes": [8, 8], "width": 8, "layers": 2}
    monkeypatch.setattr(training, "RUN", {**training.RUN, "data": data, "model": model})
    monkeypatch.setattr(contractions, "LAYER", Layer(8, (8, 8), "cp", 0.1, 2, "corners"))
    monkeypatch.setattr(transforms, "GRIDS", ((16, 16), (8, 8, 8)))
    monkeypatch.setattr(transforms, "MODES", 8)
    monkeypatch.setattr(
        kernels, "MODELS", {name: kernels.MODELS[name] for name in ("tfno, tt", "sfno", "gino", "u-net")}
    )


def verdicts(answer: Answer, part: str) -> list[bool | None]:
    found = [case.passed for case in answer.cases if part in case.name]
    assert found, f"no case of {part}"
    return found


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is no JSON")


def test_every_check_runs_on_shapes_and_leaves_to_a_gpu_what_only_it_decides(small: None, tmp_path: Path) -> None:
    out = tmp_path / "cuda-check.json"
    record = cuda_check(out, dry=True, source_digest="abc")
    json.loads(out.read_text(), parse_constant=refuse)
    assert Record.model_validate_json(out.read_text()) == record
    assert [check.name for check in record.checks] == [question.name for question in run.questions()]
    assert len({check.name for check in record.checks}) == 7
    assert record.dry and record.passed is None and record.device.memory is None
    for check in record.checks:
        assert check.passed is None and check.reason and check.reason.endswith("need a GPU"), check.reason
        assert not any(case.error for case in check.cases) and False not in [case.passed for case in check.cases]
    values = next(check for check in record.checks if check.name == transforms.VALUES.name)
    # Shapes do say what is stored, and the CPU what is expected.
    assert [case.found for case in values.cases if case.name.endswith("stored as")] == ["complex32"] * 2
    assert all(case.expected for case in values.cases if case.rule == "at least")


def test_the_simulated_transform_overflows_where_arithmetic_says() -> None:
    found = transforms.overflow(Bench(CPU))
    assert [case.passed for case in found.cases] == [True] * 9
    assert [case.expected for case in found.cases].count(False) == 3


def test_an_overflow_elsewhere_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = transforms.fft_forward
    monkeypatch.setattr(transforms, "fft_forward", lambda x, kept, format: forward(x, kept, "fp32"))
    assert [case.passed for case in transforms.overflow(Bench(CPU)).cases].count(False) == 3
    monkeypatch.setattr(transforms, "fft_forward", lambda x, kept, format: forward(2 * x, kept, format))
    # Sums of 65024, one of 32768, and that of tanh.
    assert [case.passed for case in transforms.overflow(Bench(CPU)).cases].count(False) == 4


def test_a_simulation_is_its_own_equal_but_not_native(small: None) -> None:
    found = transforms.values(Bench(CPU))
    assert [case.found for case in found.cases if case.passed is not True] == ["complex64"] * 2
    errors = [case.found for case in found.cases if case.rule == "at least"]
    assert all(isinstance(error, float) and 1e-5 < error < 2e-3 for error in errors) and len(errors) == 8


@pytest.mark.parametrize(
    ("native", "wrong"),
    [
        (
            lambda results, given, kept: {what: 1.02 * x for what, x in results(given, kept, "fp16").items()},
            "simulated",
        ),
        (lambda results, given, kept: results(given, kept, "fp32"), "error of native"),
    ],
    ids=["off", "too exact"],
)
def test_a_native_transform_that_differs_is_seen(
    small: None, monkeypatch: pytest.MonkeyPatch, native: Callable[..., Any], wrong: str
) -> None:
    results, asked = transforms._results, []

    def stand_in(given: Any, kept: Any, format: str) -> Any:
        asked.append(format)
        # On each grid: exact, simulated, native, fp32.
        return native(results, given, kept) if len(asked) % 4 == 3 else results(given, kept, format)

    monkeypatch.setattr(transforms, "_results", stand_in)
    found = transforms.values(Bench(CPU))
    assert asked == ["fp32", "fp16", "fp16", "fp32"] * 2
    assert verdicts(found, wrong) == [False] * 8


def test_distance_is_relative_and_blind_to_half_complex_storage() -> None:
    x = torch.tensor([3.0 + 4.0j, 1.0 - 2.0j])
    assert distance(x.to(torch.complex32), x) == 0.0
    assert distance(1.5 * x, x) == pytest.approx(0.5)
    assert distance(x.to("meta"), x) is None
    with pytest.raises(AssertionError, match=r"\(1,\) beside \(2,\)"):
        distance(x[:1], x)


class Given(Bench):
    """Runs on shapes, and gives out the numbers that it was given."""

    def __init__(self, *, peaks: list[int] | None = None, medians: Mapping[str, float] | None = None) -> None:
        super().__init__(META)
        self.peaks, self.medians = list(peaks or []), medians or {}

    def peak(self, step: Callable[[], object]) -> Peak | None:
        step()
        return Peak(self.peaks.pop(0), 2**22) if self.peaks else None

    def times(self, steps: Any, *, rounds: int, seconds: float) -> dict[str, Spread]:
        super().times(steps, rounds=rounds, seconds=seconds)
        return {name: Spread(0.9 * median, median, 1.2 * median) for name, median in self.medians.items()}

    def context(self) -> int | None:
        return 2**29


def test_memory_is_held_to_its_prediction(small: None) -> None:
    predicted: list[int] = []
    for setting in steps.SETTINGS:
        sizes = predict_bytes(steps.spec_of(setting))
        assert sizes is not None
        predicted.append(sizes["peak"])
    found = steps.memory(Given(peaks=predicted))
    assert [case.passed for case in found.cases if case.rule != "shown"] == [True] * 6
    off = steps.memory(Given(peaks=[round(1.2 * peak) for peak in predicted]))
    assert verdicts(off, "in tensors, bytes") == [False] * 4 and verdicts(off, "over full") == [True]
    off = steps.memory(Given(peaks=[*predicted[:3], predicted[0]]))
    assert verdicts(off, "over full") == [False]


def test_times_are_held_to_full_and_to_a_model_where_there_is_one(small: None) -> None:
    medians = {"full": 0.4, "amp": 0.3, "half": 0.35, "mixed": 0.2}
    alone = steps.times(Given(medians=medians))
    assert verdicts(alone, "median of a step") == [None] * 4 and verdicts(alone, "over full") == [True] * 2
    slow = steps.times(Given(medians={**medians, "mixed": 0.41}))
    assert verdicts(slow, "over full") == [True, False]
    asked: list[str] = []

    def model(spec: Any, gpu: str) -> float | None:
        asked.append(gpu)
        return None if spec.precision.label == "half" else 0.25

    beside = steps.times(Given(medians=medians), time_model=model)
    assert verdicts(beside, "median of a step") == [False, True, None, True]
    assert asked == [Given().about().name] * 4


def test_the_model_knows_a_card_by_the_name_that_torch_gives_it(small: None) -> None:
    spec = steps.spec_of("full")
    old, new = (steps.modelled(spec, gpu) for gpu in ("Tesla V100-SXM2-32GB", "NVIDIA H100 80GB HBM3"))
    assert old is not None and new is not None and 0 < new <= old
    assert steps.modelled(spec, "NVIDIA GeForce RTX 3090 Ti") is not None
    assert steps.modelled(spec, "NVIDIA GeForce RTX 3090") is None


def test_options_of_a_contraction(small: None) -> None:
    medians = {"A": 0.3, "B": 0.2, "C": 0.1}
    predicted = [
        round(contractions.LAYER.predicted(inputs=format, weights=format, option=option)["peak"] * 2**20)
        for format in ("fp32", "fp16")
        for option in "ABC"
    ]
    given = Given(peaks=predicted, medians=medians)
    found = contractions.contractions(given)
    assert verdicts(found, "peak of forward") == [True] * 6 and verdicts(found, "C over that of A") == [True]
    given = Given(peaks=[*predicted[:5], 2 * predicted[3]], medians={**medians, "C": 0.31})
    found = contractions.contractions(given)
    assert verdicts(found, "peak of forward") == [True] * 5 + [False]
    assert verdicts(found, "the most memory") == [True, False] and verdicts(found, "C over that of A") == [False]
    here = contractions.contractions(Bench(CPU))
    assert verdicts(here, "from float64") == [True] * 6


def test_wrong_numbers_of_a_contraction_are_seen(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = contractions._contract
    monkeypatch.setattr(contractions, "_contract", lambda weight, s, format: 1.05 * contract(weight, s, format))
    assert verdicts(contractions.contractions(Bench(CPU)), "from float64") == [False] * 6


def test_trainings_are_compared_at_their_ends() -> None:
    def falling(end: float) -> list[float]:
        return [1.0] * (training.STEPS - training.LAST) + [end] * training.LAST

    def cases(**ends: float) -> Answer:
        names = {"full": "full", "tanh": "full+tanh", "mixed": "mixed"}
        curves = {f"{names[key]}, seed {s}": falling(end) for key, end in ends.items() for s in training.SEEDS}
        return Answer(training._cases(curves), curves)

    good = cases(full=0.45, tanh=0.5, mixed=0.52)
    assert [case.passed for case in good.cases] == [True] * 6
    assert verdicts(cases(full=0.45, tanh=0.48, mixed=0.52), "mixed over full+tanh") == [False]
    assert verdicts(cases(full=0.4, tanh=0.5, mixed=0.52), "mixed over full: ") == [False]
    assert verdicts(cases(full=0.6, tanh=0.6, mixed=0.6), "over the first") == [False]
    lost = cases(full=0.5, tanh=0.5, mixed=math.nan)
    assert verdicts(lost, "mixed: all losses are finite") == [False]
    assert verdicts(lost, "mixed over full") == [False] * 2


def test_arms_of_a_training_are_paired_and_learn(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SEEDS", (0,))
    monkeypatch.setattr(training, "STEPS", 12)
    found = training.training(Bench(CPU))
    curves = found.curves
    assert {len(losses) for losses in curves.values()} == {12} and len(curves) == 3
    tanh, mixed = curves["full+tanh, seed 0"], curves["mixed, seed 0"]
    # Rounding alone, before the first update.
    assert mixed[0] == pytest.approx(tanh[0], rel=5e-3) and mixed[0] != tanh[0]
    assert mixed[-1] < mixed[0]


def test_one_kernel_that_is_missing_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MODELS", {"fno": FNOSpec(modes=(4, 4), width=4, layers=1)})
    numbers = kernels._numbers

    def without_one(bench: Bench, make: Callable[[], torch.nn.Module], x: Any) -> Any:
        model = make()
        if bench.device == META and getattr(model, "precision", None) and model.precision.label == "mixed":  # type: ignore[union-attr]
            raise NotImplementedError('"mul" not implemented for ComplexHalf\nand more')
        return numbers(bench, make, x)

    monkeypatch.setattr(kernels, "_numbers", without_one)
    found = kernels.kernels(Bench(META)).cases
    assert [case.error for case in found if case.passed is False] == [
        'NotImplementedError: "mul" not implemented for ComplexHalf'
    ] * 2
    assert [case.name.split(",")[2] for case in found if case.passed is False] == [" mixed: loss"] * 2
    assert len(found) == 2 * (4 * 2 + 1)


def test_numbers_of_a_model_are_held_to_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MODELS", {"fno": FNOSpec(modes=(4, 4), width=4, layers=1)})
    assert {case.passed for case in kernels.kernels(Bench(CPU)).cases} == {True}
    numbers, calls = kernels._numbers, []

    def off(bench: Bench, make: Any, x: Any) -> Any:
        calls.append(bench)
        loss, gradient = numbers(bench, make, x)  # type: ignore[misc]
        return (loss, 1.06 * gradient) if len(calls) % 2 else (loss, gradient)

    monkeypatch.setattr(kernels, "_numbers", off)
    found = Answer(kernels.kernels(Bench(CPU)).cases)
    assert set(verdicts(found, "gradient")) == {False} and set(verdicts(found, "loss")) == {True}


def question(name: str, ask: Callable[[Bench], Answer], allowance: float = 1.0) -> Question:
    return Question(name, "whether it is so", "none", allowance, ask)


def test_a_failure_and_a_spent_budget_cost_only_their_own_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, out = 0.0, tmp_path / "check.json"
    monkeypatch.setattr(run.time, "perf_counter", lambda: now)
    seen: list[list[str | None]] = []

    def ask(*cases: Case, takes: float = 0.0, error: Exception | None = None) -> Callable[[Bench], Answer]:
        def answer(_: Bench) -> Answer:
            nonlocal now
            now += takes
            seen.append([check.reason for check in Record.model_validate_json(out.read_text()).checks])
            if error:
                raise error
            return Answer(list(cases), {"curve": [1.0, math.inf]})

        return answer

    good = judged("one", 1, "equal", expected=1)
    asked = [
        question("fails", ask(error=RuntimeError("CUDA out of memory\nTried to allocate"))),
        question("passes", ask(good, takes=run.BUDGET - 10)),
        question("too long", ask(good), allowance=11),
        question("still fits", ask(good), allowance=9),
    ]
    record = run.check(Bench(META), asked, out, dry=False, source_digest="")
    assert [check.passed for check in record.checks] == [False, True, None, True] and record.passed is False
    assert record.checks[0].reason == "RuntimeError: CUDA out of memory"
    assert record.checks[1].curves == {"curve": [1.0, None]}
    assert record.checks[2].reason == "10 s of 420 were left, and it may take 11"
    # Whatever ends the process, what was found before is in the file.
    assert seen[1] == ["RuntimeError: CUDA out of memory", *["not begun when this was written"] * 3]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and said[0].split()[:2] == ["fails", "FAILED"] and said[2].split()[2] == "open"


def test_verdicts_follow_their_rules() -> None:
    assert judged("a", 110, "relative", expected=100, tolerance=0.1).passed
    assert judged("a", 111, "relative", expected=100, tolerance=0.1).passed is False
    assert judged("a", 0.9, "at least", tolerance=1.0).passed is False
    assert judged("a", 1.1, "at most", tolerance=1.0).passed is False
    assert judged("a", None, "at most", tolerance=1.0).passed is None and judged("a", 5).passed is None
    assert judged("a", math.nan, "at most", tolerance=1.0).error == "found nan"
    assert failed("a", ValueError("")).error == "ValueError: "


@pytest.mark.parametrize(
    "change",
    [
        {"passed": False},
        {"found": math.inf},
        {"found": 2},
        {"rule": "about"},
        {"more": 1},
        {"tolerance": "1"},
    ],
)
def test_a_case_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    good = judged("one", 1, "equal", expected=1, tolerance=0.0).model_dump()
    assert Case.model_validate(good).passed
    with pytest.raises(ValidationError):
        Case.model_validate(good | change)


def test_a_check_is_not_passed_without_reason_or_on_nothing() -> None:
    good = {"name": "a", "verifies": "b", "tolerance": "c", "seconds": 1.0, "passed": True, "reason": None}
    assert Check.model_validate(good).passed
    open_case = judged("one", None, "at most", tolerance=1.0)
    for change in ({"passed": None}, {"reason": "why"}, {"cases": [open_case]}, {"seconds": -1.0}):
        with pytest.raises(ValidationError):
            Check.model_validate(good | change)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> tuple[CudaBench, list[str]]:
    """The bench of a GPU with torch's functions replaced by ones that note their calls."""
    calls: list[str] = []
    gives = {"memory_allocated": 100, "memory_reserved": 200, "max_memory_allocated": 700, "max_memory_reserved": 900}
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: calls.append(name))
    for name, value in gives.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name, value=value: calls.append(name) or value)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (600, 1000))
    facts = SimpleNamespace(name="A GPU", major=7, minor=5, total_memory=1000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            calls.append("record")

        def synchronize(self) -> None:
            calls.append("wait")

        def elapsed_time(self, _: Any) -> float:
            return 250.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    made = CudaBench.__new__(CudaBench)
    Bench.__init__(made, CPU)
    return made, calls


def test_a_peak_is_measured_between_two_silences(cuda: tuple[CudaBench, list[str]]) -> None:
    made, calls = cuda
    assert made.peak(lambda: calls.append("step")) == Peak(600, 700)
    before = ["synchronize", "empty_cache", "memory_allocated", "memory_reserved", "reset_peak_memory_stats"]
    assert calls == [*before, "step", "synchronize", "max_memory_allocated", "max_memory_reserved"]
    assert made.context() == 200


def test_steps_are_timed_in_turn_after_a_warm_up(cuda: tuple[CudaBench, list[str]]) -> None:
    made, calls = cuda
    found = made.times({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, seconds=60)
    assert found == {"a": Spread(0.25, 0.25, 0.25), "b": Spread(0.25, 0.25, 0.25)}
    each = ["record", "a", "record", "wait", "record", "b", "record", "wait"]
    assert calls == ["a", "a", "b", "b", "synchronize", *each * 3]
    calls.clear()
    made.times({"a": lambda: calls.append("a")}, rounds=99, seconds=0.0)
    assert calls.count("record") == 6


def test_a_gpu_is_described_and_left_clean(cuda: tuple[CudaBench, list[str]]) -> None:
    made, calls = cuda
    about = made.about()
    assert (about.name, about.capability, about.memory) == ("A GPU", "7.5", 1000)
    assert made.has("fp16") and not made.has("bf16")
    with pytest.raises(ValueError), made.clean():
        raise ValueError
    assert calls == ["synchronize", "empty_cache"]


def test_without_a_gpu_there_is_only_the_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(bench.MpnoError, match="sees no GPU; run it on a machine with one, or add --dry"):
        bench.open_bench(dry=False)
    assert bench.open_bench(dry=True).device == META
