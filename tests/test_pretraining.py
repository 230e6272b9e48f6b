"""Masked-image pretraining: the masks, the loss, what the encoder sees, and the job."""

import json

import datasets
import numpy as np
import pytest
import torch
import transformers
from accelerate.state import AcceleratorState, GradientState
from families import SPECS, tiny
from PIL import Image
from safetensors.torch import load_file

from hf_vit_family import load_model
from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import import_object
from hf_vit_family.training import pretrain
from hf_vit_family.training.arguments import make_parser, read_settings
from hf_vit_family.training.checkpoints import list_checkpoints
from hf_vit_family.training.configuration import ModelSettings, option_name
from hf_vit_family.training.data.augmentation import Preparation
from hf_vit_family.training.loop import Trainer
from hf_vit_family.training.model import build_model
from hf_vit_family.training.pretraining.configuration import (
    LEFT_OUT,
    PRETRAIN_GROUPS,
    PretrainSettings,
    pretrain_option_fields,
)
from hf_vit_family.training.pretraining.job import to_colours
from hf_vit_family.training.pretraining.masked_images import (
    MaskedImageModel,
    Masking,
    choose_patch_size,
    enlarge,
    masked_l1,
)

SIDE = 32
TRANSFORMERS = {
    "vit": {"image_size": SIDE, "patch_size": 4},
    "deit": {"image_size": SIDE, "patch_size": 4},
    "beit": {"image_size": SIDE, "patch_size": 4},
    "swin": {"image_size": SIDE, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]},
    "swinv2": {"image_size": SIDE, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]},
}
TOKENS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SUPPORTED = ["twins", *TRANSFORMERS]


def encoder_of(family: str) -> torch.nn.Module:
    """A tiny base model, as a classifier has it."""
    torch.manual_seed(0)
    if family in SPECS:
        shape = {"hidden_sizes": (8, 16), "depths": (1, 1), "num_attention_heads": (1, 2), "mlp_ratios": (2, 2)}
        return tiny(SPECS[family], **shape, key_reductions=(2, 1), window_sizes=None).base_model
    settings = TRANSFORMERS[family]
    if "depths" in settings:
        settings = {**settings, "window_size": 4}
    else:
        settings = {**settings, **TOKENS}
    config = transformers.AutoConfig.for_model(family, **settings)
    return import_object(FAMILIES[family].classification_class)(config).base_model


def example(count: int = 2, patch: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixel_values = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return pixel_values, Masking((SIDE, SIDE), patch, 0.6).draw(0, np.arange(count))


class TestMasking:
    @pytest.mark.parametrize(("side", "patch", "ratio"), [(224, 32, 0.6), (64, 8, 0.5), (32, 16, 0.01), (32, 16, 0.99)])
    def test_every_image_hides_the_same_number_of_squares(self, side, patch, ratio):
        masking = Masking((side, side), patch, ratio)
        mask = masking.draw(0, np.arange(50))
        squares = (side // patch) ** 2
        assert mask.shape == (50, side // patch, side // patch)
        expected = {0.6: 29, 0.5: 32, 0.01: 1, 0.99: squares - 1}[ratio]
        assert mask.flatten(1).sum(1).eq(expected).all()

    def test_a_mask_belongs_to_seed_epoch_and_image(self):
        masking = Masking((64, 32), 8, 0.6, seed=3)
        together = masking.draw(2, np.arange(100))
        assert together.shape == (100, 8, 4)
        assert torch.equal(masking.draw(2, np.array([70, 2])), together[[70, 2]])
        assert torch.equal(masking.draw(2, torch.tensor([70, 2])), together[[70, 2]])
        assert not torch.equal(masking.draw(3, np.arange(100)), together)
        assert not torch.equal(Masking((64, 32), 8, 0.6, seed=4).draw(2, np.arange(100)), together)
        assert len({tuple(mask.flatten().tolist()) for mask in together}) == 100

    def test_every_square_is_hidden_equally_often(self):
        share = Masking((32, 32), 8, 0.5).draw(0, np.arange(4000)).double().mean(0)
        assert (share - 0.5).abs().max() < 0.04

    @pytest.mark.parametrize(
        ("size", "token", "expected"),
        [((192, 192), 4, 32), ((224, 224), 4, 32), ((224, 224), 16, 32), ((56, 56), 4, 8), ((64, 64), 4, 8)],
    )
    def test_the_default_square_is_the_papers_share_of_the_side(self, size, token, expected):
        assert choose_patch_size(None, size, token) == expected

    def test_squares_that_do_not_fit_are_told(self):
        assert choose_patch_size(14 * 4, (224, 224), 4) == 56
        with pytest.raises(ValueError, match=r"--mask-patch-size is 10; expected one of \[4, 8, 16, 32\]"):
            choose_patch_size(10, (64, 64), 4)
        with pytest.raises(ValueError, match=r"50x50 pixels cannot be split .* --image-size that is a multiple of 4"):
            choose_patch_size(None, (50, 50), 4)


class TestLoss:
    def test_it_is_the_mean_over_hidden_pixels_alone(self):
        pixel_values, mask = example()
        prediction = pixel_values.clone()
        hidden = enlarge(mask, (SIDE, SIDE)).expand_as(pixel_values)
        assert masked_l1(prediction, pixel_values, mask).eq(0).all()
        prediction[~hidden] += 7
        assert masked_l1(prediction, pixel_values, mask).eq(0).all()
        prediction[hidden] -= 2
        torch.testing.assert_close(masked_l1(prediction, pixel_values, mask), torch.full((2,), 2.0))

    def test_a_mask_is_enlarged_square_by_square(self):
        mask = torch.tensor([[[True, False], [False, False]]])
        assert torch.equal(
            enlarge(mask, (4, 6))[0, 0].nonzero(), torch.cartesian_prod(torch.arange(2), torch.arange(3))
        )


class TestModel:
    @pytest.mark.parametrize("family", SUPPORTED)
    def test_the_prediction_knows_nothing_of_hidden_pixels(self, family):
        model = MaskedImageModel(encoder_of(family)).eval()
        pixel_values, mask = example()
        pixel_values.requires_grad_()
        prediction = model(pixel_values, mask)
        assert prediction.shape == pixel_values.shape
        prediction.square().sum().backward()
        hidden = enlarge(mask, (SIDE, SIDE)).expand_as(pixel_values)
        assert pixel_values.grad[hidden].eq(0).all()
        assert pixel_values.grad[~hidden].ne(0).float().mean() > 0.99

    @pytest.mark.parametrize("family", SUPPORTED)
    def test_everything_that_is_trained_gets_a_gradient(self, family):
        model = MaskedImageModel(encoder_of(family)).train()
        pixel_values, mask = example()
        masked_l1(model(pixel_values, mask), pixel_values, mask).mean().backward()
        trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        assert sum(name.endswith("mask_token") for name in trained) == 1
        assert all(tensor.grad is not None for tensor in trained.values())

    @pytest.mark.parametrize("family", ["vit", "deit", "swin", "swinv2"])
    def test_it_equals_the_class_of_transformers(self, family):
        """Where transformers has a ForMaskedImageModeling class; BEiT's predicts tokens of another network."""
        ours = MaskedImageModel(encoder_of(family)).eval()
        config = ours.encoder.config
        config.encoder_stride = ours.stride
        theirs = transformers.AutoModelForMaskedImageModeling.from_config(config).eval()
        theirs.base_model.load_state_dict(ours.encoder.state_dict())
        theirs.decoder[0].load_state_dict(ours.decoder.state_dict())
        pixel_values, mask = example()
        tokens = enlarge(mask, (SIDE // 4, SIDE // 4)).flatten(1)
        with torch.inference_mode():
            expected = theirs(pixel_values, bool_masked_pos=tokens)
            found = ours(pixel_values, mask)
            torch.testing.assert_close(found, expected.reconstruction)
            torch.testing.assert_close(masked_l1(found, pixel_values, mask).mean(), expected.loss)

    @pytest.mark.parametrize("family", SUPPORTED)
    def test_the_encoder_is_given_back_as_it_was_built(self, family):
        encoder = encoder_of(family)
        names = set(encoder.state_dict())
        assert set(MaskedImageModel(encoder).take_encoder().state_dict()) == names

    @pytest.mark.parametrize("family", ["poolformer", "maxvit"])
    def test_families_whose_patches_overlap_are_refused(self, family):
        with pytest.raises(ValueError, match=f"A {family} was given; .* for twins, vit, deit, swin"):
            MaskedImageModel(tiny(SPECS[family]).base_model)

    def test_an_image_that_the_last_tokens_do_not_cover_is_refused(self):
        model = MaskedImageModel(encoder_of("twins"))
        with pytest.raises(ValueError, match="36x36 pixels; expected an --image-size that is a multiple of 8"):
            model(torch.zeros(1, 3, 36, 36), torch.ones(1, 9, 9, dtype=torch.bool))


class TestSettings:
    def test_options_are_those_of_fine_tuning_without_what_needs_labels(self):
        text = make_parser("pretrain.py", PRETRAIN_GROUPS, without=LEFT_OUT).format_help()
        offered = set(pretrain_option_fields())
        assert {"model", "data", "mask_ratio", "mask_patch_size", "learning_rate", "resume"} <= offered
        for name in offered:
            assert f"  {option_name(name)}" in text, name
        assert not offered & {"mixup", "label_smoothing", "teacher", "method", "class_balance"}

    def test_settings_survive_their_file(self, tmp_path):
        settings = PretrainSettings.from_options({"mask_ratio": 0.4, "epochs": 3, "model": "vit-base-patch16-224"})
        settings.fill()
        assert (settings.optimisation.epochs, settings.optimisation.batch_size) == (3, 128)
        settings.save(tmp_path / "settings.json")
        again = read_settings({"resume": True, "output": str(tmp_path)}, PretrainSettings)
        assert (again.optimisation, again.masking, again.model) == (
            settings.optimisation,
            settings.masking,
            settings.model,
        )

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"mask_ratios": 0.5}, "Unknown option 'mask_ratios'; the nearest known names are 'mask_ratio'"),
            ({"mixup": 0.5}, "Unknown option 'mixup'"),
            ({"mask_ratio": 1.0}, "--mask-ratio is 1.0; expected between 0 and 1"),
            ({"mask_patch_size": 0}, "--mask-patch-size is 0; expected at least 1"),
            ({"epochs": 0}, "--epochs is 0; expected at least 1"),
        ],
    )
    def test_wrong_options_are_told_in_one_sentence(self, options, sentence):
        with pytest.raises(ValueError, match=sentence):
            PretrainSettings.from_options(options)


def test_colours_are_the_way_back_from_pixel_values():
    preparation = Preparation(transformers.ViTImageProcessor(size={"height": 8, "width": 8}))
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(to_colours(preparation.scale(pixels), preparation), pixels / 255, rtol=0, atol=1e-6)


SHAPES = {
    None: "hidden_sizes=[8,16] depths=[1,1] num_attention_heads=[1,2] mlp_ratios=[2,2] key_reductions=[2,1] "
    "drop_path_rate=0.2",
    "vit-base-patch16-224": "hidden_size=16 num_hidden_layers=1 num_attention_heads=2 intermediate_size=32 "
    "patch_size=8",
}


class TestJob:
    """Whole runs in this process, of a tiny model on thirty images."""

    @pytest.fixture(autouse=True)
    def own_state(self, tmp_path_factory, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    @pytest.fixture
    def photos(self, tmp_path):
        generator = np.random.default_rng(0)
        for name in ("bird", "cat"):
            (tmp_path / "photos" / name).mkdir(parents=True)
            for number in range(15):
                pixels = np.kron(
                    generator.integers(180, 256, (2, 2, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8)
                )
                Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number:02d}.png")
        return tmp_path / "photos"

    def options(self, photos, output, *more, model=None):
        named = () if model is None else ("--model", model)
        return [
            *("--data", str(photos), "--output", str(output), "--image-size", "32", "--eval-fraction", "0.2", *named),
            *("--model-config", *SHAPES[model].split(), "--epochs", "3", "--batch-size", "8", "--threads", "1"),
            *("--mixed-precision", "no", "--learning-rate", "2e-2", "--warmup-epochs", "0", *more),
        ]

    def run(self, arguments):
        status = pretrain.main(arguments)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        return status

    @pytest.mark.parametrize("model", list(SHAPES))
    def test_it_learns_and_leaves_an_encoder_that_fine_tuning_starts_from(self, photos, tmp_path, capsys, model):
        output = tmp_path / "run"
        assert self.run(self.options(photos, output, "--mask-patch-size", "8", model=model)) == 0
        figures = json.loads((output / "metrics.json").read_text())
        assert figures["masked_l1"]["after"] < 0.9 * figures["masked_l1"]["before"]
        assert figures["masked_l1"]["images"] == 6 and figures["training"]["steps"] == 9
        assert figures["masking"] == {"patch_size": 8, "hidden": 10, "squares": 16}
        lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, 10))
        assert [line["masked_l1"] for line in lines if "masked_l1" in line][-1] == figures["masked_l1"]["after"]
        with Image.open(output / "reconstructions.png") as picture:
            assert picture.width > 500 and len(set(picture.convert("L").get_flattened_data())) > 50

        trained = load_file(list_checkpoints(output / "checkpoints")[-1] / "model.safetensors")
        trained = {name.removeprefix("encoder."): tensor for name, tensor in trained.items() if "encoder." in name}
        classifier = load_model(output / "model", num_labels=4)
        encoder = classifier.base_model.state_dict()
        assert set(trained) - set(encoder) <= {"embeddings.mask_token"}
        assert all(torch.equal(tensor, trained[name]) for name, tensor in encoder.items())
        assert classifier(torch.zeros(1, 3, 32, 32)).logits.shape == (1, 4)
        start, *_ = build_model(ModelSettings(model=str(output / "model")), ["bird", "cat"])
        assert start.config.id2label == {0: "bird", 1: "cat"}
        assert all(torch.equal(tensor, trained[name]) for name, tensor in start.base_model.state_dict().items())
        assert f"--model {output / 'model'}" in capsys.readouterr().out

    @pytest.mark.parametrize("more", [[], ["--accumulation", "2", "--augmentation", "resized-crop", "--workers", "0"]])
    def test_a_run_that_broke_off_goes_on_to_the_same_bits(self, photos, tmp_path, monkeypatch, more):
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        assert self.run(self.options(photos, whole, *more)) == 0
        finish = Trainer._finish_step

        def break_off(trainer, *values):
            finish(trainer, *values)
            if trainer.progress.step == 5:
                raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "_finish_step", break_off)
        assert self.run(self.options(photos, broken, "--checkpoint-every", "2", *more)) == 130
        monkeypatch.setattr(Trainer, "_finish_step", finish)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        assert list_checkpoints(broken / "checkpoints")[-1].name == "step-00000004"

        assert self.run(["--resume", "--output", str(broken)]) == 0
        one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, broken))
        assert one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
        assert (whole / "log.jsonl").read_text() == (broken / "log.jsonl").read_text()
        figures = [json.loads((folder / "metrics.json").read_text())["masked_l1"] for folder in (whole, broken)]
        assert figures[0] == figures[1]

    @pytest.mark.parametrize(
        ("more", "sentence"),
        [
            (["--model", "poolformer_s12", "--model-config", "depths=[1,1,1,1]"], "A poolformer was given; masked"),
            (["--mask-patch-size", "10"], "--mask-patch-size is 10; expected one of [4, 8, 16]"),
            (["--image-size", "36"], "36x36 pixels; expected an --image-size that is a multiple of 8"),
            (["--batch-size", "7", "--accumulation", "2"], "--batch-size is 7; expected a multiple of 2"),
        ],
    )
    def test_what_does_not_fit_is_told_in_one_sentence(self, photos, tmp_path, capsys, more, sentence):
        assert self.run(self.options(photos, tmp_path / "run", *more)) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
        assert not (tmp_path / "run").exists()
