"""Masked-image pretraining: the masks, the loss, what the encoder sees, and the job."""

import numpy as np
import pytest
import torch
import transformers
from families import SPECS
from test_contract import tiny

from hf_vit_family.training.masked_images import MaskedImageModel, Masking, choose_patch_size, enlarge, masked_l1
from hf_vit_family.zoo.registry import FAMILIES, import_object

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
        with pytest.raises(ValueError, match=f"A {family} was given; .* for twins, vit, deit, beit"):
            MaskedImageModel(tiny(SPECS[family]).base_model)

    def test_an_image_that_the_last_tokens_do_not_cover_is_refused(self):
        model = MaskedImageModel(encoder_of("twins"))
        with pytest.raises(ValueError, match="36x36 pixels; expected an --image-size that is a multiple of 8"):
            model(torch.zeros(1, 3, 36, 36), torch.ones(1, 9, 9, dtype=torch.bool))
