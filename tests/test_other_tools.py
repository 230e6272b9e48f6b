"""Others' tools on the native models: transformers' Trainer, heads and pipelines, peft, UperNet and DETR."""

import numpy as np
import pytest
import torch
import transformers
from accelerate.state import AcceleratorState, GradientState
from families import SPECS, images, tiny
from PIL import Image
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, pipeline

from hf_vit_family import HfvfImageProcessor

families = pytest.mark.parametrize("family", list(SPECS))
SIDE = 64
CLASSES = 5


def processor() -> HfvfImageProcessor:
    return HfvfImageProcessor(size=SIDE, crop_pct=1.0)


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    return [Image.fromarray(generator.integers(0, 256, (70, 80, 3), dtype=np.uint8)) for _ in range(count)]


def equal_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


class Pictures(Dataset):
    """PIL images with labels, as a data set of the Hub gives them."""

    def __init__(self, count: int):
        self.images = pictures(count)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return {"image": self.images[index], "label": index % CLASSES}


def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
    """The image processor in a collator.

    It needs `remove_unused_columns=False`: the Trainer otherwise drops every column that `forward` has no argument
    for, and `image` is one of them.
    """
    batch = processor()([row["image"] for row in rows], return_tensors="pt")
    return {"pixel_values": batch["pixel_values"], "labels": torch.tensor([row["label"] for row in rows])}


class TestTrainer:
    @pytest.fixture(autouse=True)
    def accelerate_reset(self):
        yield
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    def arguments(self, folder, **options) -> TrainingArguments:
        settings = {
            "max_steps": 2,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "remove_unused_columns": False,
        }
        return TrainingArguments(output_dir=str(folder), **{**settings, **options})

    @families
    def test_fine_tunes_evaluates_and_saves(self, family, tmp_path):
        model = tiny(SPECS[family])
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        trainer = Trainer(
            model,
            self.arguments(tmp_path / "run"),
            data_collator=collate,
            train_dataset=Pictures(8),
            eval_dataset=Pictures(4),
            processing_class=processor(),
        )
        result = trainer.train()
        assert result.global_step == 2 and np.isfinite(result.training_loss) and result.training_loss > 0
        assert all(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
        assert np.isfinite(trainer.evaluate()["eval_loss"])

        trainer.save_model(str(tmp_path / "saved"))
        loaded = type(model).from_pretrained(tmp_path / "saved")
        assert equal_weights(loaded, model)
        assert HfvfImageProcessor.from_pretrained(tmp_path / "saved").to_dict() == processor().to_dict()

    def test_without_the_setting_the_images_never_reach_the_collator(self, tmp_path):
        """The trap that `collate` names."""
        arguments = self.arguments(tmp_path, remove_unused_columns=True)
        trainer = Trainer(tiny(SPECS["twins"]), arguments, data_collator=collate, train_dataset=Pictures(4))
        with pytest.raises(KeyError, match="image"):
            next(iter(trainer.get_train_dataloader()))


class TestNewHead:
    @families
    def test_only_the_head_starts_anew(self, family, tmp_path):
        model = tiny(SPECS[family])
        model.save_pretrained(tmp_path)
        with pytest.raises((RuntimeError, ValueError), match="ignore_mismatched_sizes"):
            type(model).from_pretrained(tmp_path, num_labels=3)
        other, info = type(model).from_pretrained(
            tmp_path, num_labels=3, ignore_mismatched_sizes=True, output_loading_info=True
        )
        new = {entry[0] for entry in info["mismatched_keys"]}
        assert new == {"classifier.weight", "classifier.bias"}, new
        assert not info["missing_keys"] and not info["unexpected_keys"]
        old = model.state_dict()
        for name, tensor in other.state_dict().items():
            assert name in new or torch.equal(tensor, old[name]), name
        assert other.classifier.weight.std() > 0 and not other.classifier.bias.any()
        assert other(pixel_values=images(2, (SIDE, SIDE)), labels=torch.tensor([0, 2])).logits.shape == (2, 3)


class TestPeft:
    @families
    def test_an_adapter_is_trained_saved_loaded_and_merged(self, family, tmp_path):
        peft = pytest.importorskip("peft")
        spec = SPECS[family]
        config = peft.LoraConfig(r=2, target_modules=list(spec.lora_targets), modules_to_save=["classifier"])
        model = peft.get_peft_model(tiny(spec), config).train()
        frozen = {name: tensor.clone() for name, tensor in model.named_parameters() if not tensor.requires_grad}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-2)
        pixel_values, labels = images(4, spec.tiny_size), torch.arange(4)
        for _ in range(2):  # LoRA's second matrix starts at zero: the first one gets a gradient in the second step
            model(pixel_values=pixel_values, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        assert all(torch.equal(frozen[name], tensor) for name, tensor in model.named_parameters() if name in frozen)

        with torch.inference_mode():
            model.eval()
            expected = model(pixel_values=pixel_values).logits
            # BatchNorm's statistics are no part of an adapter: those of the training steps are put into the base
            base = tiny(spec).eval()
            base.load_state_dict(statistics(model, base), strict=False)
            assert (base(pixel_values=pixel_values).logits - expected).abs().max() > 1e-3
            model.save_pretrained(tmp_path, save_embedding_layers=False)
            assert {path.name for path in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
            loaded = peft.PeftModel.from_pretrained(base, tmp_path).eval()
            torch.testing.assert_close(loaded(pixel_values=pixel_values).logits, expected)
            merged = loaded.merge_and_unload()
            assert not any("lora" in name for name in merged.state_dict())
            torch.testing.assert_close(merged(pixel_values=pixel_values).logits, expected, rtol=1e-4, atol=1e-4)


def statistics(model: torch.nn.Module, base: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The buffers of an adapted model under the names they have in the base."""
    names = {name for name, _ in base.named_buffers()}
    found = {name.removeprefix("base_model.model."): tensor for name, tensor in model.named_buffers()}
    return {name: tensor for name, tensor in found.items() if name in names}


class TestFeatureExtraction:
    @families
    def test_the_pipeline_gives_maps_and_pooled_vectors(self, family):
        spec = SPECS[family]
        model = tiny(spec).eval().model
        extract = pipeline("image-feature-extraction", model=model, image_processor=processor(), device="cpu")
        given = pictures(2)
        with torch.inference_mode():
            expected = model(**processor()(given, return_tensors="pt"))
        for index, found in enumerate(extract(given, return_tensors=True)):
            torch.testing.assert_close(found[0], expected.last_hidden_state[index], rtol=1e-4, atol=1e-5)
        for index, found in enumerate(extract(given, pool=True, return_tensors=True)):
            torch.testing.assert_close(found[0], expected.pooler_output[index], rtol=1e-4, atol=1e-5)
        assert np.shape(extract(given[0], pool=True)) == (1, expected.pooler_output.shape[1])


def backbone_config(family: str, out_features: list[str]):
    """The configuration of a tiny backbone, as UperNet and DETR take it."""
    config = tiny(SPECS[family]).config
    config.out_features = out_features
    return config


class TestDenseTasks:
    """Heads of transformers on our backbones.

    They build the backbone from its configuration; weights of a checkpoint are loaded into it afterwards.
    """

    STAGES = ("stage1", "stage2", "stage3", "stage4")

    @families
    def test_upernet_learns_on_the_backbone(self, family, tmp_path):
        config = transformers.UperNetConfig(
            backbone_config=backbone_config(family, list(self.STAGES)),
            hidden_size=16,
            auxiliary_channels=8,
            num_labels=3,
        )
        model = transformers.UperNetForSemanticSegmentation(config).train()
        assert type(model.backbone) is SPECS[family].class_of("backbone")
        labels = torch.arange(2 * SIDE * SIDE).view(2, SIDE, SIDE) % 3
        output = model(pixel_values=images(2, (SIDE, SIDE)), labels=labels)
        assert output.logits.shape == (2, 3, SIDE, SIDE) and torch.isfinite(output.loss)
        output.loss.backward()
        got = [name for name, tensor in model.backbone.named_parameters() if tensor.grad is not None]
        assert got == [name for name, _ in model.backbone.named_parameters()]

        model.save_pretrained(tmp_path)
        loaded = transformers.UperNetForSemanticSegmentation.from_pretrained(tmp_path)
        assert type(loaded.backbone) is type(model.backbone) and equal_weights(loaded, model)

    @families
    def test_a_checkpoint_serves_upernet(self, family, tmp_path):
        classifier = tiny(SPECS[family])
        classifier.save_pretrained(tmp_path)
        config = transformers.UperNetConfig(
            backbone_config=backbone_config(family, list(self.STAGES)), hidden_size=16, auxiliary_channels=8
        )
        model = transformers.UperNetForSemanticSegmentation(config)
        trained = SPECS[family].class_of("backbone").from_pretrained(tmp_path, out_features=list(self.STAGES))
        model.backbone.load_state_dict(trained.state_dict())
        expected = classifier.model.state_dict()
        for name, tensor in model.backbone.model.state_dict().items():
            assert torch.equal(tensor, expected[name]), name

    @families
    def test_detr_learns_on_the_backbone(self, family):
        pytest.importorskip("scipy", reason="DETR matches its boxes with scipy")
        config = transformers.DetrConfig(
            backbone_config=backbone_config(family, ["stage4"]),
            use_timm_backbone=False,
            num_queries=4,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            d_model=16,
            num_labels=3,
        )
        model = transformers.DetrForObjectDetection(config).train()
        backbone = model.model.backbone.model
        assert type(backbone) is SPECS[family].class_of("backbone")
        targets = [
            {"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.4, 0.2]])},
            {"class_labels": torch.tensor([0, 2]), "boxes": torch.tensor([[0.3, 0.4, 0.2, 0.2], [0.7, 0.6, 0.3, 0.5]])},
        ]
        output = model(pixel_values=images(2, (SIDE, SIDE)), labels=targets)
        assert output.logits.shape == (2, 4, 4) and output.pred_boxes.shape == (2, 4, 4)
        assert torch.isfinite(output.loss)
        output.loss.backward()
        assert all(parameter.grad is not None for parameter in backbone.parameters() if parameter.requires_grad)
