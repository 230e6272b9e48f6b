"""The benchmark: statistics on made-up times, whole runs of tiny models, and what is told when something is wrong."""

import dataclasses
import itertools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_models import TINY, random_model

from hf_vit_family import create_model, list_models
from hf_vit_family.acceleration.benchmarking import (
    CONTESTANTS,
    Entry,
    Options,
    Ratio,
    Results,
    Row,
    contestants,
    environment,
    memory,
    read,
    running,
)
from hf_vit_family.acceleration.benchmarking import benchmark as run_benchmark
from hf_vit_family.acceleration.benchmarking.memory import Case, difference, prepare
from hf_vit_family.acceleration.benchmarking.plots import draw_accuracy, draw_all, pareto, slope
from hf_vit_family.acceleration.benchmarking.results import as_markdown
from hf_vit_family.acceleration.benchmarking.running import LEAST_ROUNDS, compare, interleave, order
from hf_vit_family.acceleration.optimization.optimizing import compile_frozen
from hf_vit_family.cli import run
from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import VARIANTS


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory) -> Path:
    """A PoolFormer of some thousand parameters whose layout transformers' own PoolFormer has too."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    random_model("poolformer", final_norm="group_norm").save_pretrained(folder)
    return folder


@pytest.fixture
def quick_ceilings(monkeypatch):
    """Ceilings of small matrices: whole runs spend their time on what they test."""
    monkeypatch.setattr(environment, "SIDE", {"cpu": 64})
    monkeypatch.setattr(environment, "COPIED", {"cpu": 2**20})
    monkeypatch.setattr(environment.measure, "__defaults__", ("cpu", 0.01))


def case(model: str, contestant: str = "native", **changes) -> Case:
    values = {"mode": "inference", "dtype": "fp32", "batch_size": 2, "image_size": 64, "device": "cpu", "threads": 1}
    return Case(model=model, contestant=contestant, **{**values, **changes})


class TestStatistics:
    def test_a_steady_ratio_is_told(self):
        times = np.full(20, 0.5)
        ratio = compare(times, 2.2 * times, "timm")
        assert (ratio.against, ratio.value, ratio.low, ratio.high, ratio.refused) == ("timm", 2.2, 2.2, 2.2, None)

    def test_the_value_is_of_medians_and_the_spread_of_the_rounds(self):
        times, reference = np.array([1.0, 2, 3, 4, 5, 6, 7]), np.array([2.0, 4, 6, 9, 10, 12, 14])
        ratio = compare(times, reference, "timm")
        assert ratio.value == 9 / 4
        assert (ratio.low, ratio.high) == (2.0, pytest.approx(2.1))  # six rounds of 2 and one of 2.25

    def test_the_spread_is_from_the_tenth_to_the_ninetieth_percentile(self):
        rounds = np.linspace(1.9, 2.1, 101)
        ratio = compare(np.ones(101), rounds, "timm")
        assert (ratio.low, ratio.high) == (pytest.approx(1.92), pytest.approx(2.08))

    def test_too_few_rounds_are_refused(self):
        enough, few = np.ones(LEAST_ROUNDS), np.ones(LEAST_ROUNDS - 1)
        assert compare(enough, enough, "timm").value == 1
        ratio = compare(few, few, "timm")
        assert ratio.value is None and "6 rounds" in ratio.refused and ratio.low == 1

    def test_a_wide_spread_is_refused_and_kept(self):
        rounds = np.concatenate([np.full(10, 1.0), np.full(10, 1.5)])
        ratio = compare(np.ones(20), rounds, "timm")  # 0.5 of 1.25 is 40 %
        assert ratio.value is None and "40%" in ratio.refused and (ratio.low, ratio.high) == (1.0, 1.5)
        assert compare(np.ones(20), rounds, "timm", max_spread=0.41).value == 1.25

    def test_slope_and_front(self):
        assert slope([(224, 10.0), (448, 40.0), (896, 160.0)]) == pytest.approx(2)
        places = [(1, 5), (2, 4), (2, 3), (3, 4), (4, 1), (1, 1)]
        assert pareto(places) == [(1, 5), (3, 4), (4, 1)]


class TestOrder:
    @pytest.mark.parametrize("count", [1, 2, 3, 5])
    def test_everybody_begins_and_ends_equally_often(self, count):
        orders = [order(count, index) for index in range(2 * count)]
        assert all(sorted(one) == list(range(count)) for one in orders)
        for place in range(count):
            assert sorted(one[place] for one in orders) == sorted([*range(count)] * 2)

    def test_nobody_always_follows_the_same(self):
        followed = {contestant: set() for contestant in range(4)}
        for index in range(8):
            for before, after in itertools.pairwise(order(4, index)):
                followed[after].add(before)
        assert all(len(before) > 1 for before in followed.values())

    def test_one_call_each_a_round_in_that_order(self):
        seen = []
        calls = [lambda index=index: seen.append(index) for index in range(3)]
        times = interleave(calls, seconds=0)
        timed = seen[-3 * LEAST_ROUNDS :]
        assert times.shape == (LEAST_ROUNDS, 3)
        assert [timed[3 * index : 3 * index + 3] for index in range(LEAST_ROUNDS)] == [
            order(3, index) for index in range(LEAST_ROUNDS)
        ]

    def test_seconds_by_a_made_up_clock(self):
        now, waits = [0.0], []

        def taking(seconds):
            def call():
                now[0] += seconds

            return call

        times = interleave([taking(0.25), taking(0.75)], 20, lambda: waits.append(now[0]), lambda: now[0])
        assert times.shape == (20, 2) and (times == [0.25, 0.75]).all()
        assert len(waits) == 80  # the device is waited for before and after each call


class TestSurroundings:
    def test_the_share_of_the_ceiling_by_hand(self):
        rates = {"matrix_fp32_mm": 100.0, "matrix_fp32_convolution": 200.0, "matrix_bf16_mm": 800.0, "copy_gbs": 10.0}
        # 2 x 1e9 operations x 4 images at 200e9 a second are 40 ms; 4 bytes x 1e6 weights at 10 GB/s only 0.4 ms
        found = environment.share(rates, 0.1, "fp32", "inference", 10**9, 4, 10**6, 0)
        assert found == (pytest.approx(0.4), "matrix")
        assert environment.share(rates, 0.1, "fp32", "training", 10**9, 4, 10**6, 0)[0] == pytest.approx(1.2)
        # 2 bytes x 5e8 weights at 10 GB/s are 100 ms
        assert environment.share(rates, 0.2, "bf16", "inference", 10**9, 1, 5 * 10**8, 0) == (
            pytest.approx(0.5),
            "memory",
        )
        assert environment.share(rates, 0.2, "fp16", "inference", 10**9, 1, 1, 0) is None

    def test_a_share_above_one_is_a_warning(self):
        results = running._with_shares(
            dataclasses.replace(made_up_results(ROWS), ceilings={"matrix_fp32_mm": 1e6, "copy_gbs": 1e6})
        )
        assert results.warnings == () and results.rows[0].entries[0].ceiling == "matrix"
        low = running._with_shares(dataclasses.replace(results, ceilings={"matrix_fp32_mm": 1.0, "copy_gbs": 1e6}))
        assert len(low.warnings) == 1 and "100 %" in low.warnings[0]
        assert low.rows[0].entries[0].share_of_ceiling > 1
        assert environment.highest({"a": 1.0, "b": 4.0}, {"a": 2.0, "b": 3.0}) == {"a": 2.0, "b": 4.0}

    def test_ceilings_are_measured(self, quick_ceilings):
        found = environment.measure("cpu")
        assert set(found) == {"matrix_fp32_mm", "matrix_fp32_convolution", "matrix_bf16_mm", "copy_gbs"}
        assert all(rate > 0 for rate in found.values())
        left, right = torch.randn(64, 64), torch.randn(64, 64)
        product = environment._convolution(left, right)()  # (1, 64, 2, 32)
        torch.testing.assert_close(product.permute(0, 2, 3, 1).reshape(64, 64), left @ right.T, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize(
        ("others", "threads", "cores", "warned"),
        [(0.2, 2, 2, False), (0.6, 2, 2, True), (1.2, 1, 2, False), (1.6, 1, 2, True), (None, 8, 1, False)],
    )
    def test_a_busy_machine_is_told(self, others, threads, cores, warned):
        warning = environment.busy(others, threads, cores)
        assert (warning is not None) == warned
        assert warning is None or (str(others) in warning and warning.endswith("."))

    @pytest.mark.skipif(not environment.STAT.exists(), reason="the system has no /proc/stat")
    def test_other_work_is_measured(self):
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            found = environment.busy_cores(1.0)
            other.kill()
        assert 0.3 < found <= (os.cpu_count() or 1) + 0.1

    def test_other_work_is_the_load_where_nothing_tells_it(self, monkeypatch, tmp_path):
        monkeypatch.setattr(environment, "STAT", tmp_path / "absent")
        assert environment.busy_cores() == environment.load_average()

    def test_the_allocator_is_stated(self, monkeypatch):
        monkeypatch.setenv("LD_PRELOAD", "")
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
        monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
        machine = environment.describe("cpu")
        assert machine["allocator"]["MALLOC_TRIM_THRESHOLD_"] == "1000000"
        assert machine["allocator"]["LD_PRELOAD"] == "" and machine["allocator"]["libc"]
        assert machine["variables"]["OMP_WAIT_POLICY"] == "passive"
        assert machine["threads"] == torch.get_num_threads() and machine["versions"]["torch"] == torch.__version__


class TestCounterparts:
    @pytest.mark.parametrize("name", [variant for variant, *_ in TINY.values()])
    def test_names_elsewhere_are_models_of_the_same_size(self, name):
        check_sizes_elsewhere(name)

    @pytest.mark.slow  # names of native families are timm's own, which the zoo's tests compare
    @pytest.mark.parametrize("family", [name for name in TINY if not FAMILIES[name].native])
    def test_so_are_those_of_all_variants(self, family):
        for name in list_models(family):
            check_sizes_elsewhere(name)

    @pytest.mark.parametrize("family", [*TINY])
    @pytest.mark.parametrize("mode", ["inference", "training"])
    def test_every_family_runs(self, family, mode):
        native = random_model(family)
        before = {name: tensor.clone() for name, tensor in native.state_dict().items()}
        one = case(family, mode=mode, image_size=TINY[family][2])
        with torch.no_grad():
            expected = native(one.images()).logits
        prepared = prepare(one, native)
        prepared.call()
        assert difference(prepared, expected) < 1e-5
        assert prepared.parameters == count(native)
        assert all(torch.equal(tensor, before[name]) for name, tensor in native.state_dict().items())

    def test_a_model_is_built_for_the_size_where_it_has_one(self):
        assert contestants.build_native("deit-tiny-patch16-224", 64).config.image_size == 64
        assert contestants.build_native("maxvit_tiny_tf_224", 64).config.image_size == 224
        first, second = (contestants.build_native("twins_svt_small", 64).state_dict() for _ in range(2))
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())

    def test_accuracy_is_that_of_the_size(self):
        assert contestants.accuracy("twins_svt_small", 224)[0] == 81.694
        assert contestants.accuracy("twins_svt_small", 256) is None
        assert contestants.accuracy("twins_fashion_mnist", 28) is None  # not ImageNet's classes
        assert contestants.accuracy("vit-base-patch16-224", 224) is None  # none published

    def test_precision_reaches_the_logits(self, tiny_folder):
        native = contestants.build_native(str(tiny_folder), 64)
        one = case(str(tiny_folder))
        expected = native(one.images()).logits
        assert difference(prepare(one, native), expected) == 0
        half = difference(prepare(dataclasses.replace(one, dtype="bf16"), native), expected)
        assert 1e-5 < half < 0.1


def count(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def check_sizes_elsewhere(name: str) -> None:
    """timm's and torchvision's model of a name have as many parameters as ours, to one per cent."""
    timm = pytest.importorskip("timm", reason="the extra dev brings it")
    from torchvision import models

    theirs, torchvisions = contestants.timm_name(name), VARIANTS[name].counterparts.get("torchvision")
    with torch.device("meta"):
        ours = create_model(name)
        labels = ours.config.num_labels
        others = [models.get_model(torchvisions, num_classes=labels)] if torchvisions else []
        if theirs is not None:
            others.append(timm.create_model(theirs, num_classes=labels))
    assert others or name.startswith(("cvt", "pvt-"))
    assert all(count(other) == pytest.approx(count(ours), rel=0.01) for other in others)


@pytest.mark.skipif(not memory.measurable("cpu"), reason="peak memory is read from /proc, which Linux has")
def test_memory_in_a_process_of_its_own_grows_with_the_batch(tiny_folder):
    one, many = (memory.peak_in_own_process(case(str(tiny_folder), batch_size=size)) for size in (1, 256))
    # the first stage's hidden map alone: 256 images x 32 channels x 16 x 16 tokens x 4 bytes
    assert many - one > 256 * 32 * 16 * 16 * 4 / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not memory.measurable("cpu"), reason="peak memory is read from /proc, which Linux has")
def test_memory_is_what_a_call_needs_at_once(tiny_folder):
    """Whatever a heap would keep: equal from process to process, and as many times as high as there are images."""
    half, *whole = (memory.peak_in_own_process(case(str(tiny_folder), batch_size=size)) for size in (512, 1024, 1024))
    assert whole[0] == pytest.approx(whole[1], rel=0.05)
    assert whole[0] == pytest.approx(2 * half, rel=0.15)


@pytest.mark.usefixtures("quick_ceilings")
class TestCommand:
    def test_contestants_of_a_tiny_model(self, tiny_folder, tmp_path, capsys):
        output = tmp_path / "runs" / "results.json"
        arguments = ["benchmark", str(tiny_folder), "--contestants", "transformers,torch-export,native-bf16"]
        arguments += ["--image-sizes", "64", "--batch-sizes", "1,2", "--seconds", "0", "--no-memory"]
        assert run([*arguments, "--max-spread", "1000", "--output", str(output)]) == 0
        printed = capsys.readouterr().out
        results = read(output)
        assert results.finished and [row.batch_size for row in results.rows] == [1, 2]
        for row in results.rows:
            assert [entry.contestant for entry in row.entries] == [
                *("transformers", "torch-export", "native-bf16", "native")
            ]
            assert (row.family, row.mode, row.dtype, row.image_size) == ("poolformer", "inference", "fp32", 64)
            assert row.multiply_adds > 0 and row.parameters == row.entries[-1].parameters
            for entry in row.entries:
                assert entry.failed is None and entry.rounds >= LEAST_ROUNDS and entry.shared_weights
                assert entry.difference < (0.1 if entry.dtype == "bf16" else 1e-4)
                assert entry.milliseconds_low <= entry.milliseconds <= entry.milliseconds_high
                assert entry.images_per_second == pytest.approx(1e3 * row.batch_size / entry.milliseconds, rel=0.01)
                assert entry.share_of_ceiling > 0 and entry.ceiling in ("matrix", "memory")
                assert [ratio.against for ratio in entry.ratios] == ([] if entry.contestant == "native" else ["native"])
            for entry in row.entries[:-1]:
                expected = row.entries[-1].milliseconds / entry.milliseconds
                assert entry.ratios[0].value == pytest.approx(expected, rel=0.01)
        assert Results(**{**dataclasses.asdict(results), "rows": results.rows, "warnings": results.warnings}) == results
        assert run(["benchmark", "--from", str(output)]) == 0
        assert capsys.readouterr().out in printed
        assert results.command.startswith("hf-vit-family") and results.machine["threads"] == torch.get_num_threads()

    def test_timm_is_the_reference_and_has_our_weights(self):
        pytest.importorskip("timm", reason="the extra dev brings it")
        options = Options(
            ["poolformer_s12"],
            contestants=["native"],
            modes=["inference", "training"],
            batch_sizes=[1],
            image_sizes=[32],
            seconds=0,
            max_spread=1000,
            memory=False,
        )
        results = run_benchmark(options)
        assert [row.mode for row in results.rows] == ["inference", "training"]
        for row in results.rows:
            native, theirs = row.entries
            assert (native.contestant, theirs.contestant) == ("native", "timm")
            assert native.parameters == theirs.parameters and theirs.difference < 1e-5
            assert native.ratios[0].against == "timm" and native.ratios[0].value > 0

    def test_memory_and_optimized(self, tiny_folder):
        options = Options(
            [str(tiny_folder)],
            contestants=["optimized"],
            image_sizes=[64],
            batch_sizes=[64],
            seconds=0,
            max_spread=1000,
        )
        (row,) = run_benchmark(options).rows
        optimized, native = row.entries
        assert optimized.failed is None and optimized.difference < 1e-4
        if memory.measurable("cpu"):
            assert native.peak_memory_mb > 1 and optimized.peak_memory_mb > 1

    def test_an_interruption_keeps_finished_rows(self, tiny_folder, tmp_path, capsys, monkeypatch):
        calls = itertools.count()

        def interrupted(*arguments):
            if next(calls):
                raise KeyboardInterrupt
            return interleave(*arguments)

        monkeypatch.setattr(running, "interleave", interrupted)
        output = tmp_path / "results.json"
        arguments = ["--contestants", "native-bf16", "--image-sizes", "64", "--seconds", "0", "--no-memory"]
        assert run(["benchmark", str(tiny_folder), *arguments, "--output", str(output)]) == 130
        results = read(output)
        assert [row.batch_size for row in results.rows] == [1] and not results.finished
        printed = capsys.readouterr().out
        assert "| native-bf16 |" in printed and "Rows of the plan are missing." in printed

    def test_one_contestant_that_fails_leaves_the_others(self, tiny_folder, monkeypatch):
        def failing(case, native):
            if case.contestant == "torchvision":
                raise RuntimeError("no room left\nfor anything")
            return prepare(case, native)

        monkeypatch.setattr(running, "prepare", failing)
        options = Options(
            [str(tiny_folder)],
            contestants=["torchvision", "native-bf16"],
            image_sizes=[64],
            batch_sizes=[1],
            seconds=0,
            max_spread=1000,
            memory=False,
        )
        results = run_benchmark(options)
        failed, half, _ = results.rows[0].entries
        assert failed.failed == "no room left" and failed.milliseconds is None
        assert failed.ratios[0].value is None and "could not be measured" in failed.ratios[0].refused
        assert half.ratios[0].value > 0
        assert "torchvision failed: no room left." in as_markdown(results)

    def test_a_reference_of_another_dtype(self):
        options = Options(["poolformer_s12"], ["native"], ["native"], dtypes=["bf16"], reference_dtype="fp32")
        (one, _) = running.plan(options)
        assert [chosen.label for chosen in one.contestants] == ["native", "native-fp32"]
        assert one.references == ("native-fp32",)

    def test_a_model_that_a_library_lacks_has_a_contestant_less(self):
        options = Options(["poolformer_s12", "deit-base-patch16-224"], ["torchvision", "native"], ["native"])
        labels = {one.model: [chosen.label for chosen in one.contestants] for one in running.plan(options)}
        assert labels == {"deit-base-patch16-224": ["torchvision", "native"]}  # nothing to compare in the other
        assert running.left_out(options) == ["torchvision has no model that is poolformer_s12."]

    def test_contestants_that_fit_some_rows_only(self):
        options = Options(["poolformer_s12"], ["compiled", "optimized"], ["native"], modes=["inference", "training"])
        labels = {one.mode: [chosen.label for chosen in one.contestants] for one in running.plan(options)}
        assert labels == {"inference": ["compiled", "optimized", "native"], "training": ["compiled", "native"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["twins_svt_smal"], "'twins_svt_small'"),
        (["twins_svt_small", "--contestants", "natve"], "'native'"),
        (["twins_svt_small", "--against", "timn"], "'timm'"),
        (["twins_svt_small", "--dtypes", "int8"], "fp32, bf16, fp16"),
        (["twins_svt_small", "--reference-dtype", "fp64"], "fp32, bf16, fp16"),
        (["twins_svt_small", "--modes", "sleeping"], "inference, training"),
        (["twins_svt_small", "--modes", "training", "--contestants", "onnx"], "inference only"),
        (["twins_svt_small", "--dtypes", "bf16", "--contestants", "onnx"], "fp32 only"),
        (["twins_svt_small", "--contestants", "native", "--against", "native"], "reference"),
        (["twins_svt_small", "--image-sizes", "8"], "8x8 pixels"),
        (["cvt-13", "--contestants", "timm"], "timm has no model"),
        (["swin-tiny-patch4-window7-224", "--contestants", "transformers"], "transformers' own implementation already"),
        (["twins_svt_small", "--contestants", "torchvision"], "torchvision has no model"),
        (["twins_svt_small", "--batch-sizes", "1,x"], "whole numbers"),
        (["twins_svt_small", "--image-sizes", "0"], "whole numbers"),
        (["twins_svt_small", "--output", "."], "folder"),
        (["twins_svt_small", "--plots", "here.txt"], "file"),
        (["twins_svt_small", "--device", "tpu"], "tpu"),
        (["twins_svt_small", "--device", "cuda:99"], "cuda:99"),
        ([], "--from"),
        (["twins_svt_small", "--from", "here.txt"], "--from"),
        (["--from", "here.txt"], "JSON"),
        (["--from", "there.txt"], "No such file"),
    ],
)
def test_whatever_is_wrong_is_one_sentence(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("no results")
    assert run(["benchmark", *arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("hf-vit-family: ") and message.endswith(".") and words in message, message
    assert "Traceback" not in message


def test_the_script_calls_the_command(monkeypatch, capsys):
    script = Path(__file__).resolve().parent.parent / "scripts" / "benchmark.py"
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().err.startswith("hf-vit-family: Expected either models to measure")


def test_a_missing_library_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(contestants.importlib.util, "find_spec", lambda name: None)
    assert run(["benchmark", "twins_svt_small", "--against", "timm"]) == 2
    assert "needs timm, which is not installed; the extra dev has it." in capsys.readouterr().err


def test_bf16_is_refused_where_the_processor_has_none(monkeypatch, capsys):
    monkeypatch.setattr(contestants, "has_bf16", lambda: False)
    monkeypatch.setattr(contestants.importlib.util, "find_spec", lambda name: True)
    assert run(["benchmark", "twins_svt_small", "--contestants", "openvino-bf16", "--against", "native"]) == 2
    assert "which this processor lacks." in capsys.readouterr().err


def made_up(model: str, batch_size: int, image_size: int, factor: float, top1: float | None = None) -> Row:
    entries = []
    for contestant, speed in (("native", 1.5 * factor), ("optimized", 2 * factor), ("timm", factor)):
        rate = 50 * speed * (224 / image_size) ** 2
        ratios = () if contestant == "timm" else (Ratio("timm", speed / factor, 1.4, 2.1),)
        milliseconds = 1e3 * batch_size / rate
        entries.append(
            Entry(contestant, "fp32", milliseconds, milliseconds, milliseconds, rate, 9, ratios, 10.0 * batch_size)
        )
    work = 3 * 10**9 * image_size**2 // 224**2
    return Row(
        model,
        "twins",
        "inference",
        "fp32",
        batch_size,
        image_size,
        10**7,
        work,
        top1,
        top1 and "made up",
        tuple(entries),
    )


def made_up_results(rows: list[Row], **changes) -> Results:
    machine = {**environment.describe("cpu"), **changes}
    return Results(
        "hf-vit-family benchmark", "2026-11-21T10:00:00+00:00", machine, {"max_spread": 0.3}, {}, (), rows, True
    )


ROWS = tuple(
    made_up(name, batch_size, size, factor, top1 if size == 224 else None)
    for name, factor, top1 in (("small", 2.0, 81.0), ("base", 1.0, 83.0), ("slow", 0.9, 80.5))
    for batch_size in (1, 8)
    for size in (224, 448)
)


class TestPlots:
    def test_all_three_from_files(self, tmp_path, capsys):
        for index, rows in enumerate((ROWS, ROWS[:1])):
            made_up_results(rows, processor=f"number {index}").write(tmp_path / f"{index}.json")
        files = [str(tmp_path / f"{index}.json") for index in range(2)]
        folder = tmp_path / "plots"
        assert run(["benchmark", "--from", files[0], "--from", files[1], "--plots", str(folder)]) == 0
        assert capsys.readouterr().out.count("Wrote ") == 4
        names = {"accuracy-1.png", "resolution-1.png", "batch-1.png", "accuracy-2.png"}
        assert {path.name for path in folder.iterdir()} == names
        for path in folder.iterdir():
            pixels = np.asarray(Image.open(path).convert("RGB"), dtype=float)
            assert min(pixels.shape[:2]) > 300 and pixels.std() > 10
            colours = {tuple(colour) for colour in pixels.reshape(-1, 3)[::7]}
            assert {(0, 114, 178), (230, 159, 0), (0, 158, 115)} <= colours  # a contestant each

    def test_what_they_state(self):
        figure = draw_accuracy(ROWS, "here")
        assert [axes.get_title() for axes in figure.axes] == ["fp32, batch 1", "fp32, batch 8"]
        assert {text.get_text() for text in figure.axes[0].texts} == {"small", "base", "slow"}
        front = figure.axes[0].lines[0].get_xydata()  # slow is slower and worse than small
        assert front.tolist() == [[100, 83], [200, 81]]

    def test_names_cover_neither_one_another_nor_points(self):
        rows = [made_up(f"a-model-of-size-{index}", 1, 224, 1 + 0.06 * index, 80 + 0.1 * index) for index in range(9)]
        figure = draw_accuracy(rows, "here")
        figure.canvas.draw()
        (axes,) = figure.axes
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == 9
        assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
        places = [(entry.images_per_second, row.top1) for row in rows for entry in row.entries]
        assert not any(box.contains(*axes.transData.transform(place)) for box in boxes for place in places)

    def test_results_that_are_not_enough(self, tmp_path):
        written, missing = draw_all([made_up_results(ROWS[:1])], tmp_path)
        assert [path.name for path in written] == ["accuracy.png"]
        assert len(missing) == 2 and all(reason.endswith(".") for reason in missing)


class TestTable:
    def test_refused_ratios_are_a_dash_with_the_reason(self):
        refused = Ratio("timm", None, 0.8, 1.9, "the rounds spread over 90% of the ratio; at most 30% is allowed")
        row = ROWS[0]
        other = dataclasses.replace(row.entries[1], shared_weights=False, difference=None)
        first = dataclasses.replace(row.entries[0], ratios=(refused,))
        text = as_markdown(made_up_results([dataclasses.replace(row, entries=(first, other, row.entries[2]))]))
        line = next(line for line in text.splitlines() if "| native |" in line)
        assert "| – |" in line and "0.80–1.90" in text and "spread over 90%" in text
        assert "**2.00** (1.40–2.10)" in text and "| own weights |" in text

    def test_warnings_and_settings_are_stated(self):
        results = dataclasses.replace(made_up_results(ROWS, threads=3), warnings=("The machine is busy.",))
        text = as_markdown(results)
        assert "**The machine is busy.**" in text and "3 threads" in text and "glibc" in text.lower()
        assert "Allocator glibc" in text or "Allocator musl" in text
        assert f"torch {torch.__version__}" in text and "`hf-vit-family benchmark`" in text

    @pytest.mark.parametrize("stored", ["[]", "{}", '{"schema": 99}', '{"schema": 1, "rows": [{"model": "x"}]}'])
    def test_other_files_are_refused(self, stored, tmp_path):
        path = tmp_path / "results.json"
        path.write_text(stored)
        with pytest.raises(ValueError, match=r"results.*\.$"):
            read(path)

    def test_a_file_is_replaced_in_one_step(self, tmp_path):
        path = tmp_path / "results.json"
        for rows in (ROWS[:1], ROWS):
            made_up_results(rows).write(path)
            assert len(json.loads(path.read_text())["rows"]) == len(rows)
        assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]
        assert read(path).rows == ROWS


@pytest.mark.slow
class TestCompiled:
    def test_weights_are_really_frozen(self):
        model = random_model("poolformer").requires_grad_(False)
        images = case("tiny").images()
        with torch.inference_mode():
            expected = model(images).logits
            compile_frozen(model)
            model(images)
            # of the packed weights the compiler has its own copy; what it does not pack it may go on reading
            model.model.stem.convolution.weight.data.zero_()
            torch.testing.assert_close(model(images).logits, expected, atol=1e-4, rtol=1e-4)
            assert not torch.allclose(model.forward(images).logits, expected, atol=1e-2)

    def test_training_step(self, tiny_folder):
        native = contestants.build_native(str(tiny_folder), 64)
        prepared = prepare(case("tiny", "compiled", mode="training", dtype="bf16"), native)
        prepared.call()
        assert difference(prepared, native(case("tiny").images()).logits) < 1e-5


@pytest.mark.slow
def test_exported_contestants(tiny_folder):
    for library in ("onnxruntime", "openvino"):
        pytest.importorskip(library, reason="the extra export brings it")
    names = ["onnx", "openvino", *(["openvino-bf16"] if environment.has_bf16() else [])]
    options = Options([str(tiny_folder)], names, image_sizes=[64], batch_sizes=[3], seconds=0, max_spread=1000)
    (row,) = run_benchmark(options).rows
    for entry in row.entries[:-1]:
        assert entry.failed is None and entry.difference < (0.1 if entry.dtype == "bf16" else 1e-4)
        assert entry.peak_memory_mb > 0 and entry.ratios[0].value > 0


def test_the_names_of_contestants_stand_in_the_help(capsys):
    assert run(["benchmark", "--help"]) == 0
    words = "".join(capsys.readouterr().out.split())  # lines may end within a name
    assert all(name in words for name in CONTESTANTS)
