"""Deletion, insertion, pointing and the randomisation check against models whose answer is known."""

import itertools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch import nn
from zoo_models import TINY, shown, tiny_model

import hf_vit_family
from hf_vit_family import (
    compare_explanations,
    export,
    patch_drop,
    pointing_game,
    randomisation_check,
    score_faithfulness,
)
from hf_vit_family.inspection import EXPLANATIONS
from hf_vit_family.inspection.comparison import as_record, comparison_summary, comparison_table
from hf_vit_family.inspection.faithfulness import (
    curve_areas,
    mean_interval,
    randomised,
    rank_correlation,
)


def patch_model(weights, sharpness=1.0):
    """A classifier of two classes whose first logit is a weighted sum of the patches' means (rows, columns)."""
    torch.manual_seed(0)
    model = tiny_model("vit", num_labels=2).eval()
    rows, columns = weights.shape
    spread = weights.repeat_interleave(32 // rows, 0).repeat_interleave(32 // columns, 1) * rows * columns / 32**2

    def forward(pixel_values):
        score = sharpness * (pixel_values.mean(1) * spread).sum((1, 2))
        return type("Output", (), {"logits": torch.stack([score, torch.zeros_like(score)], 1)})

    model.forward = forward
    return model


def bright_images(count=6):
    """Every pixel is between 1 and 2, so that a patch with a weight always speaks for its class."""
    return 1 + torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def fixed_map(values):
    return lambda model, pixel_values, target=None: values.expand(len(pixel_values), -1, -1)


# ----------------------------------------------------------------------------------------- deletion and insertion


def test_areas_of_a_linear_model_by_hand():
    """Two by two patches of which each is replaced by 0: the curve is a sigmoid of sums of what is left."""
    weights = torch.tensor([[2.0, -1.0], [0.5, 1.5]])
    model, pixel_values = patch_model(weights), bright_images(3)
    order = [0, 3, 2, 1]  # by hand, the largest first
    (score,) = score_faithfulness(
        model, pixel_values, {"true": fixed_map(weights)}, 0, (2, 2), 4, "zero", "zero", progress=False
    )
    assert (score.patches, score.steps) == (4, 4)
    assert score.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    for image in range(3):
        means = pixel_values[image].mean(0).unflatten(1, (2, 16)).unflatten(0, (2, 16)).mean((1, 3)).flatten()
        parts = (means * weights.flatten()).tolist()
        gone = [1 / (1 + np.exp(-sum(parts[p] for p in order[count:]))) for count in range(5)]
        there = [1 / (1 + np.exp(-sum(parts[p] for p in order[:count]))) for count in range(5)]
        for curves, expected in ((score.deletion_curves, gone), (score.insertion_curves, there)):
            np.testing.assert_allclose(curves[image].numpy(), expected, rtol=1e-5)
            area = sum((left + right) / 2 for left, right in itertools.pairwise(expected)) / 4
            assert float(curve_areas(curves, score.shares)[image]) == pytest.approx(area, rel=1e-5)


def test_the_true_map_is_best_where_one_patch_decides():
    """The class falls to a half with the first patch of 64, and comes back with it."""
    weights = torch.zeros(8, 8)
    weights[6, 1] = 1  # far from the middle
    model, pixel_values = patch_model(weights, sharpness=10), bright_images()
    maps = {
        "true": fixed_map(weights),
        "wrong": fixed_map(-weights),
        "random": EXPLANATIONS["random"],
        "centre": EXPLANATIONS["centre_gaussian"],
        "input_gradient": lambda model, pixel_values, target: gradient_of(model, pixel_values),
        "occlusion": lambda *inputs: EXPLANATIONS["occlusion"](*inputs, grid=(8, 8), window=1, filling="zero"),
    }
    scores = score_faithfulness(model, pixel_values, maps, 0, (8, 8), 64, "zero", "zero", progress=False)
    found = {score.explanation: score for score in scores}
    best = found["true"]
    # a trapezoid of one step from 1 to a half, then a half
    assert best.deletion.mean == pytest.approx(0.5 + 0.25 / 64, abs=1e-3)
    assert best.insertion.mean == pytest.approx(1 - 0.25 / 64, abs=1e-3)
    assert found["wrong"].deletion.mean == pytest.approx(1 - 0.25 / 64, abs=1e-3)
    assert found["input_gradient"].deletion == best.deletion
    for name in ("random", "centre", "wrong"):
        assert found[name].deletion.mean > best.deletion.mean + 0.1
        assert found[name].insertion.mean < best.insertion.mean - 0.1
        assert best.better_than(found[name]).low > 0.2
    assert 0.1 < found["random"].difference.high - found["random"].difference.low < 0.6


def gradient_of(model, pixel_values):
    with torch.enable_grad():
        pixels = pixel_values.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(pixel_values=pixels).logits[:, 0].sum(), pixels)
    return gradient.abs().amax(1)


def test_scores_do_not_depend_on_the_batches_and_repeat():
    torch.manual_seed(0)
    model = tiny_model("vit", num_labels=3)
    with torch.no_grad():
        model.classifier.weight.normal_(std=2)
    pixel_values = torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    names = ["legrad", "grad_cam", "random"]
    first, second = (
        score_faithfulness(model, pixel_values, names, grid=(4, 4), steps=5, batch_size=size, progress=False)
        for size in (8, 256)
    )
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.deletion_curves, other.deletion_curves, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(one.insertion_curves, other.insertion_curves, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(one.deletion_curves[:, 0], one.insertion_curves[:, -1])
    again = score_faithfulness(model, pixel_values, names, grid=(4, 4), steps=5, progress=False)
    assert [score.deletion for score in again] == [score.deletion for score in second]
    assert [score.explanation for score in again] == names


def test_intervals_cover_the_mean_as_often_as_they_say():
    """Means of exponential draws, 40 at a time: about 95 of 100 intervals hold the true mean, 1."""
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for trial in range(100):
        values = torch.empty(40, dtype=torch.double).exponential_(1.0, generator=generator)
        interval = mean_interval(values, seed=trial)
        assert interval.low < interval.mean < interval.high and interval.images == 40
        covered += interval.low < 1 < interval.high
    assert 86 <= covered <= 99
    assert mean_interval(torch.full((5,), 0.25)).low == 0.25


def test_rank_correlation_is_spearmans():
    first = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 5.0]])
    second = torch.tensor([[10.0, 20.0, 30.0, 400.0], [3.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    # ranks with ties: (1.5, 1.5, 3, 4) and (4, 2.5, 2.5, 1), whose correlation is -3.75 / 4.5
    expected = torch.tensor([1.0, -3.75 / 4.5, 1.0, 0.0], dtype=torch.double)
    torch.testing.assert_close(rank_correlation(first, second), expected)


# ---------------------------------------------------------------------------------------------------- pointing


def test_pointing_into_a_known_box():
    weights = torch.zeros(8, 8)
    weights[5, 2] = 1  # rows 20 to 24, columns 8 to 12 of 32 pixels
    model, pixel_values = patch_model(weights), bright_images(4)
    inside, beside = torch.tensor([[8.0, 20, 12, 24]]), torch.tensor([[20.0, 8, 24, 12]])
    boxes = [inside, beside, torch.cat([beside, inside]), torch.tensor([[11.0, 20, 12, 24]])]
    maps = {"true": fixed_map(weights), "even": fixed_map(torch.ones(8, 8))}
    true, even = pointing_game(model, pixel_values, boxes, maps, 0, progress=False)
    # the middle of the cell is at column 10, one pixel beside the last box
    assert true.hits.tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(even.hits, [1 / 64, 1 / 64, 2 / 64, 0])
    true, _ = pointing_game(model, pixel_values, boxes, maps, 0, tolerance=1.0, progress=False)
    assert true.hits.tolist() == [1, 0, 1, 1] and true.accuracy.mean == 0.75


# -------------------------------------------------------------------------------------------- the sanity check


def edges(model, pixel_values, target=None):
    """An edge detector, which looks at the image alone."""
    grey = pixel_values.mean(1)
    return (grey - grey.roll(1, 1)).abs() + (grey - grey.roll(1, 2)).abs()


def test_the_check_finds_what_does_not_look_at_the_model():
    torch.manual_seed(0)
    model = tiny_model("vit", num_labels=4).eval()
    pixel_values = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.random.get_rng_state()
    explanations = {name: EXPLANATIONS[name] for name in ("random", "centre_gaussian", "input_gradient", "grad_cam")}
    checks = randomisation_check(model, pixel_values, {"edges": edges, **explanations}, seeds=(1, 2), progress=False)
    found = {check.explanation: check for check in checks}
    for name in ("edges", "random", "centre_gaussian"):
        assert not found[name].passed
        torch.testing.assert_close(found[name].correlations, torch.ones(8, 1, dtype=torch.double))
    # two random models have nothing in common but the grid of the patches
    assert found["input_gradient"].passed and abs(found["input_gradient"].by_share[-1].mean) < 0.1
    assert found["grad_cam"].passed
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(generator, torch.random.get_rng_state())


def test_weights_become_random_from_the_classifier_down():
    model = tiny_model("twins", num_labels=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.3)
    pixel_values = torch.randn(2, 3, 64, 64)

    def changed(share):
        copy = randomised(model, share, 0, pixel_values)
        return {name.rpartition(".")[0] for name, tensor in copy.state_dict().items() if not (tensor == 0.3).all()}

    order = [changed(share) for share in (1e-9, 0.1, 0.5, 0.9, 1.0)]
    assert order[0] == {"classifier"}
    assert all(small < large for small, large in itertools.pairwise(order))
    assert not any("stem" in name for name in order[3]) and any("stem" in name for name in order[4])
    weighted = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
    assert order[4] == weighted
    shares = (0.05, 1.0)
    (check,) = randomisation_check(model, pixel_values, ["grad_cam"], shares=shares, progress=False)
    assert check.correlations.shape == (2, 2) and len(check.by_share) == 2


@pytest.mark.parametrize("family", ["mobilevit", "maxvit", "cvt"])
def test_batch_norms_are_measured_behind_random_weights(family):
    """With their initial statistics MobileViT's signal is 0 behind the stem, and every map with it."""
    torch.manual_seed(0)
    model = tiny_model(family, num_labels=4).eval()
    size = TINY[family][2]
    pixel_values = torch.randn(4, 3, size, size)
    copy = randomised(model, 1.0, 1, pixel_values)
    assert not any(module.training for module in copy.modules())
    norms = [module for module in copy.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(int(norm.num_batches_tracked) == 1 for norm in norms)
    gradient = EXPLANATIONS["input_gradient"](copy, pixel_values, 0)
    assert gradient.min(dim=0).values.max() > 1e-6
    with pytest.raises(ValueError, match="at least 2") as error:
        randomised(model, 1.0, 1, pixel_values[:1])
    shown(error)


def test_a_comparison_has_both_and_stays_with_its_explanations():
    torch.manual_seed(0)
    model = tiny_model("poolformer", num_labels=3).train()
    pixel_values = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    labels = model.eval()(pixel_values).logits.argmax(1)
    labels[0] = (labels[0] + 1) % 3
    model.train()
    comparison = compare_explanations(
        model, pixel_values, "pool", labels, None, (4, 4), 4, sanity_images=3, progress=False
    )
    assert model.training and all(module.training for module in model.modules())
    assert comparison.accuracy == pytest.approx(0.8) and comparison.sanity_images == 3
    names = ["grad_cam", "input_gradient", "occlusion", "centre_gaussian", "random"]
    assert [score.explanation for score in comparison.scores] == names
    record = as_record(comparison)
    assert record["patches"] == 16 and list(record["explanations"]) == names
    score = comparison.scores[0]
    assert record["explanations"]["grad_cam"]["deletion"]["mean"] == score.deletion.mean
    table = comparison_table([comparison, comparison]).splitlines()
    assert len(table) == 2 + 2 * len(names) and table[0].count("|") == table[5].count("|") == 10
    cells = [cell.strip() for cell in comparison_summary([comparison]).splitlines()[2].strip("|").split("|")]
    assert cells[:2] == ["pool", "80.0%"]
    best = max(comparison.scores, key=lambda score: score.difference.mean)
    failed = {check.explanation for check in comparison.checks if not check.passed}
    for name, score, cell in zip(names, comparison.scores, cells[2:], strict=True):
        assert str(score.difference) in cell
        assert cell.startswith("**") == (score is best or best.better_than(score).low <= 0), name
        assert ("†" in cell) == (name in failed and name not in ("centre_gaussian", "random")), name


def test_the_script_writes_table_and_json(tmp_path, capsys):
    """Two models on some of the images that come with the package."""
    pytest.importorskip("datasets", reason="the extra training brings it")
    script = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "compare_explanations.py"))
    names = (Path(hf_vit_family.__file__).parent / "assets" / "fashion_mnist_classes.txt").read_text().splitlines()[1:]
    torch.manual_seed(0)
    for family in ("twins", "poolformer"):
        model = tiny_model(family, num_labels=len(names), image_size=32)
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: index for index, name in enumerate(names)}
        export(model, tmp_path / family)
        settings = json.loads((tmp_path / family / "preprocessor_config.json").read_text())
        settings.update(size={"height": 32, "width": 32}, crop_pct=1.0)
        (tmp_path / family / "preprocessor_config.json").write_text(json.dumps(settings))
    models = [str(tmp_path / family) for family in ("twins", "poolformer")]
    options = {"data": "fashion_mnist", "eval_split": None, "images": 6, "patches": 4, "steps": 4, "sanity_images": 3}
    options |= {"deletion_filling": "zero", "insertion_filling": "blur", "batch_size": 32, "seed": 0, "device": "cpu"}
    options |= {"threads": None, "output": tmp_path / "out"}
    script["main"](models, explanations="grad_cam,random", **options)
    report = json.loads((tmp_path / "out" / "explanations.json").read_text())
    assert report["date"] and report["command"] and report["machine"]["processor"]
    assert [record["family"] for record in report["comparisons"]] == ["hfvf_twins", "hfvf_poolformer"]
    for record in report["comparisons"]:
        assert record["images"] == 6 and record["sanity_images"] == 3 and record["image_size"] == [32, 32]
        assert 0 <= record["accuracy"] <= 1 and len(record["explanations"]["random"]["deletion_curve"]) == 5
    page = (tmp_path / "out" / "explanations.md").read_text()
    assert page.count("\n| hfvf_") == 2 + 4 and "16 patches in 4 steps" in page and "replaced by zero" in page
    assert str(tmp_path) not in page
    capsys.readouterr()
    with pytest.raises(typer.Exit):
        script["main"](models[1:], explanations="legrad", **options)
    assert "expected one of grad_cam" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- bad input


def test_what_does_not_fit_is_told():
    model, pixel_values = tiny_model("vit", num_labels=3), torch.randn(2, 3, 32, 32)
    poolformer, box = tiny_model("poolformer", num_labels=3), torch.tensor([[0.0, 0, 4, 4]])
    maps = {"mine": lambda model, pixel_values, target: torch.zeros(3, 4)}
    wrong = [
        (lambda: score_faithfulness(nn.Linear(2, 2), pixel_values), "expected an image classifier"),
        (lambda: score_faithfulness(model, pixel_values[0]), "expected a batch"),
        (lambda: score_faithfulness(model, pixel_values[:0]), "at least one"),
        (lambda: score_faithfulness(model, torch.randn(2, 3, 40, 40)), "32x32 alone"),
        (lambda: score_faithfulness(model, pixel_values, ["lime"]), "expected one of attention_rollout"),
        (lambda: score_faithfulness(model, pixel_values, []), "No explanation was given"),
        (lambda: score_faithfulness(model, pixel_values, {}), "No explanation was given"),
        (lambda: score_faithfulness(poolformer, torch.randn(1, 3, 64, 64), ["legrad"]), "expected one of grad_cam"),
        (lambda: score_faithfulness(model, pixel_values, target=3), "expected a class from 0 to 2"),
        (lambda: score_faithfulness(model, pixel_values, grid=(0, 1)), "rows, columns"),
        (lambda: score_faithfulness(model, pixel_values, steps=50), "at most 49"),
        (lambda: score_faithfulness(model, pixel_values, steps=0), "at least 1"),
        (lambda: score_faithfulness(model, pixel_values, batch_size=1.5), "at least 1"),
        (lambda: score_faithfulness(model, pixel_values, deletion_filling="black"), "blur, mean, zero"),
        (lambda: score_faithfulness(model, pixel_values, maps, progress=False), "'mine' gave .3, 4.; expected .2, h"),
        (lambda: pointing_game(model, pixel_values, [box]), "boxes is for 1 images"),
        (lambda: pointing_game(model, pixel_values, [box, box[:, :3]]), "left, top, right, bottom"),
        (lambda: pointing_game(model, pixel_values, [box, box[:, [2, 1, 0, 3]]]), "no area"),
        (lambda: randomisation_check(model, pixel_values, shares=()), "growing numbers"),
        (lambda: randomisation_check(model, pixel_values, shares=(1.0, 0.5)), "growing numbers"),
        (lambda: randomisation_check(model, pixel_values, shares=(0.0, 0.5)), "growing numbers"),
        (lambda: randomisation_check(model, pixel_values, seeds=()), "at least one"),
        (lambda: randomisation_check(model, pixel_values, "lime"), "expected one of attention_rollout"),
    ]
    for call, words in wrong:
        with pytest.raises(ValueError, match=words) as error:
            call()
        shown(error)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_maps_that_are_no_numbers_are_refused(value):
    """They would be scored as a map that says nothing."""
    model, pixel_values = tiny_model("poolformer").eval(), torch.randn(2, 3, 64, 64)

    def broken(model, pixel_values, target=None):
        maps = torch.ones(len(pixel_values), 4, 4)
        maps[1, 0, 0] = value
        return maps

    for judge in (score_faithfulness, randomisation_check):
        with pytest.raises(ValueError, match="for 1 of 2 images; expected finite ones") as error:
            judge(model, pixel_values, {"broken": broken}, progress=False)
        shown(error)
    with pytest.raises(ValueError, match="for 1 of 2 images; expected finite ones") as error:
        patch_drop(model, pixel_values, order="salient", explain=broken, progress=False)
    shown(error)
