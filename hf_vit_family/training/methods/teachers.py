# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Distillation: teachers from this package, transformers, timm or torchvision, and a student that learns from one."""

import difflib
import json
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ...families.labels import labels
from ...loading import load_image_processor, load_in_float32
from ...models.compat import unknown_name_message
from ...pixel_scale import PixelScale
from ...whole_files import whole_file
from ..configuration import MethodSettings
from ..data.augmentation import Preparation
from .adaptation import classifier_heads, last_linear, set_heads
from .probes import extract_features, fit_ridge, fit_scale

# Which of a teacher's classes stand for which of the student's.


class ClassMapping(nn.Module):
    """A teacher's logits as log-probabilities of the student's classes.

    A student's class gets the probabilities of its teacher's classes together; then all are divided by their sum. One
    without any teacher's class gets next to none.

    Args:
        lists: for each of the student's classes, the indices of its teacher's classes.
        teacher_classes: how many the teacher has.
    """

    def __init__(self, lists: list[list[int]], teacher_classes: int):
        super().__init__()
        matrix = torch.zeros(teacher_classes, len(lists))
        for student, indices in enumerate(lists):
            matrix[indices, student] = 1.0
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, teacher's classes) to (B, student's classes)."""
        shares = logits.float().softmax(1) @ self.matrix
        return shares.clamp_min(torch.finfo(torch.float32).tiny).log().log_softmax(1)


class ClassOrder(nn.Module):
    """A teacher's logits in the student's order, for a teacher that has the same classes.

    Args:
        indices: for each of the student's classes, the teacher's.
    """

    def __init__(self, indices: list[int]):
        super().__init__()
        self.register_buffer("indices", torch.tensor(indices), persistent=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, classes) to (B, classes)."""
        return logits[:, self.indices]


def match_classes(label_names: list[str], teacher_names: list[str] | None, count: int, file: str | None) -> nn.Module:
    """From a teacher's logits to the student's classes.

    Args:
        label_names: the student's classes.
        teacher_names: the teacher's, or None where they have no names.
        count: how many the teacher has.
        file: JSON with a list of the teacher's classes, names or indices, for each of the student's; None where they
            have the same names, or the student's are among the teacher's.

    Raises:
        ValueError: the classes differ and there is no file, or the file does not fit.
    """
    if file is not None:
        return ClassMapping(_read_lists(file, label_names, teacher_names, count), count)
    index = {name: position for position, name in enumerate(teacher_names or ())}
    missing = [name for name in label_names if name not in index]
    if missing:
        reason = f"the class {missing[0]!r} is none of the teacher's" if index else "its classes have no names"
        raise ValueError(
            f"The teacher has {count} classes, and {reason}; expected --teacher-classes, or --teacher-head ridge for a "
            "new head."
        )
    if len(label_names) == count:
        return ClassOrder([index[name] for name in label_names])
    return ClassMapping([[index[name]] for name in label_names], count)


def _read_lists(file: str, label_names: list[str], teacher_names: list[str] | None, count: int) -> list[list[int]]:
    try:
        given = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--teacher-classes {file} cannot be read as JSON: {error}.") from None
    if not isinstance(given, dict) or not all(isinstance(classes, list) for classes in given.values()):
        raise ValueError(f"--teacher-classes {file} is no table of lists; expected {{class: [teacher's class, ...]}}.")
    for name in given:
        if name not in label_names:
            raise ValueError(f"{file}: {unknown_name_message('class', name, label_names)}")
    missing = [name for name in label_names if name not in given]
    if missing:
        raise ValueError(
            f"{file} lacks the class {missing[0]!r}; expected every class, with an empty list where the teacher has "
            "none for it."
        )
    if not any(given.values()):
        raise ValueError(f"{file} names none of the teacher's classes.")
    return [[_find(file, entry, teacher_names, count) for entry in given[name]] for name in label_names]


def _find(file: str, entry: Any, teacher_names: list[str] | None, count: int) -> int:
    """The index of a teacher's class that is given by name or by index."""
    if isinstance(entry, int) and not isinstance(entry, bool):
        if not 0 <= entry < count:
            raise ValueError(f"{file} names the teacher's class {entry}; expected 0 to {count - 1}.")
        return entry
    if teacher_names is None:
        raise ValueError(
            f"{file} names the teacher's class {entry!r}; expected an index, as its classes have no names."
        )
    if entry not in teacher_names:
        nearest = difflib.get_close_matches(str(entry), teacher_names, n=3, cutoff=0.0)  # never all thousand
        raise ValueError(
            f"{file} names {entry!r}, which the teacher has not; the nearest of its classes are "
            f"{', '.join(map(repr, nearest))}."
        )
    return teacher_names.index(entry)


# Where a teacher comes from: this package's loader, timm or torchvision.


_IMAGENET_CLASSES = 1000  # a timm or torchvision classifier of as many has ImageNet-1k's, in its order


@dataclass
class TeacherNetwork:
    """A classifier with what it needs to know of its images.

    Attributes:
        network: gives logits, or an output that has `logits`.
        size: (height, width) in pixels.
        scale: of its `pixel_values`.
        outputs: number of its classes.
        class_names: of its classes, or None where they have none.
        heads: its linear heads by name; empty where it has none.
    """

    network: nn.Module
    size: tuple[int, int]
    scale: PixelScale
    outputs: int
    class_names: list[str] | None
    heads: dict[str, nn.Linear]


def build_teacher(name: str, weights: str | None) -> TeacherNetwork:
    """A teacher by its name.

    Args:
        name: `timm:NAME`, `torchvision:NAME`, or what `load_model` takes.
        weights: file with the weights of a timm or torchvision teacher, `.safetensors`, `.pth` or `.pt`.

    Raises:
        ValueError: no such model, no weights or weights that do not fit.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    library, separator, model_name = name.partition(":")
    builders = {"timm": _from_timm, "torchvision": _from_torchvision}
    if separator and library in builders:
        if weights is None:
            raise ValueError(f"--teacher is {name!r}, without --teacher-weights; a random teacher teaches nothing.")
        return builders[library](model_name, weights)
    if weights is not None:
        raise ValueError(f"--teacher-weights was given for {name!r}; expected it with timm:NAME or torchvision:NAME.")
    return _from_package(name)


def _from_package(name: str) -> TeacherNetwork:
    """A model of this package or of transformers, with the processor that lies beside it."""
    model, _ = load_in_float32(name)
    preparation = Preparation(load_image_processor(name))
    return TeacherNetwork(
        network=model,
        size=preparation.size(),
        scale=PixelScale.of(preparation.processor),
        outputs=model.config.num_labels,
        class_names=[model.config.id2label[index] for index in range(model.config.num_labels)],
        heads=classifier_heads(model),
    )


def _from_torchvision(name: str, weights: str) -> TeacherNetwork:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(unknown_name_message("model of torchvision", name, known))
    published = models.get_model_weights(name).DEFAULT.transforms()  # how torchvision evaluates it
    network, heads, outputs = _load(
        lambda **options: models.get_model(name, weights=None, **options),
        last_linear,
        weights,
        name,
    )
    if hasattr(network, "transform_input"):
        network.transform_input = True  # as torchvision does with the published weights of GoogLeNet and Inception
    side = published.crop_size[0]
    return _of_imagenet(network, heads, outputs, (side, side), PixelScale(published.mean, published.std))


def _from_timm(name: str, weights: str) -> TeacherNetwork:
    try:
        import timm
    except ImportError:
        raise ValueError(f"--teacher is 'timm:{name}', but timm is not installed.") from None
    if not timm.is_model(name.partition(".")[0]):
        raise ValueError(unknown_name_message("model of timm", name, timm.list_models()))
    try:
        network, heads, outputs = _load(
            lambda **options: timm.create_model(name, **options), _timm_heads, weights, name
        )
    except RuntimeError as error:  # timm's for a tag that it does not know
        raise ValueError(f"timm cannot build {name!r}: {str(error).splitlines()[0].rstrip('.')}.") from None
    published = network.pretrained_cfg
    height, width = published["input_size"][1:]
    return _of_imagenet(network, heads, outputs, (height, width), PixelScale(published["mean"], published["std"]))


def _of_imagenet(
    network: nn.Module, heads: dict[str, nn.Linear], outputs: int, size: tuple[int, int], scale: PixelScale
) -> TeacherNetwork:
    names = labels("imagenet-1k") if outputs == _IMAGENET_CLASSES else None
    return TeacherNetwork(network, size, scale, outputs, names, heads)


def _timm_heads(network: nn.Module) -> dict[str, nn.Linear]:
    """The head, or the two of a distilled model, which answers with their mean."""
    found = network.get_classifier()
    found = found if isinstance(found, tuple) else (found,)
    if not all(isinstance(head, nn.Linear) for head in found):
        raise ValueError(f"The head of timm's {type(network).__name__} is no linear layer; expected a linear head.")
    return {name: module for name, module in network.named_modules() if any(module is head for head in found)}


def _load(
    build: Callable[..., nn.Module], find_heads: Callable[[nn.Module], dict[str, nn.Linear]], file: str, label: str
) -> tuple[nn.Module, dict[str, nn.Linear], int]:
    """A model with the weights of a file, its linear heads, and how many classes the file has."""
    state_dict = _read_weights(file)
    network = build()
    heads = find_heads(network)
    name, head = next(iter(heads.items()))
    outputs = len(state_dict.get(f"{name}.weight", head.weight))
    if outputs != head.out_features:
        network = build(num_classes=outputs)
        heads = find_heads(network)
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as error:
        wanted = network.state_dict()
        misfits = [key for key in wanted if getattr(state_dict.get(key), "shape", None) != wanted[key].shape]
        misfits += [key for key in state_dict if key not in wanted]
        raise ValueError(
            f"The weights in {file} do not fit {label}: {len(misfits)} names or shapes differ, {misfits[0]!r} first."
        ) from error
    return network, heads, outputs


def _read_weights(file: str) -> dict[str, torch.Tensor]:
    """Named tensors of a file; nothing but tensors is unpickled.

    Raises:
        ValueError: no such file, or one of another kind.
    """
    suffix = Path(file).suffix
    if suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"--teacher-weights is {file!r}; expected a file ending with .safetensors, .pth or .pt.")
    try:
        content = load_file(file) if suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(f"--teacher-weights {file} holds more than tensors; expected a state_dict alone.") from None
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise ValueError(f"--teacher-weights {file} cannot be read: {reason}.") from None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(f"--teacher-weights {file} holds no table of named tensors, which a state_dict is.")
    return content


class Teacher(nn.Module):
    """A frozen classifier that answers for the student's images in the student's classes.

    Args:
        source: the classifier.
        student: scale of the student's `pixel_values`.
        classes: from the teacher's logits to the student's classes; or the number of these, for a new head that says
            nothing of them until `fit_head`.
    """

    def __init__(self, source: TeacherNetwork, student: PixelScale, classes: nn.Module | int):
        super().__init__()
        self.network, self.size, self.heads = source.network, source.size, source.heads
        self.scale, self.student_scale = source.scale, student
        self.classes = nn.Identity() if isinstance(classes, int) else classes
        if isinstance(classes, int):
            width = sum(head.in_features for head in self.heads.values())
            self._set_heads(torch.zeros(classes, width), torch.zeros(classes))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Teacher":
        """A teacher stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The student's `pixel_values` (B, 3, H, W) to logits (B, classes) of the student's classes.

        Classes of a mapping get log-probabilities. The images are resized to the teacher's own size.
        """
        images = self.student_scale.undo(pixel_values.float())
        if tuple(images.shape[-2:]) != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False, antialias=True)
        logits = self.network(self.scale.apply(images))
        logits = getattr(logits, "logits", logits).float()
        return self.classes(logits)

    def fit_head(
        self,
        accelerator: Accelerator,
        loader: DataLoader,
        classes: int,
        strength: float,
        file: Path | None = None,
    ) -> None:
        """Give the teacher a new head for the student's classes, by ridge regression of its own features.

        Targets are -1 and 1, so the scores are then scaled to be logits, by the factor that makes the cross-entropy
        of held-out scores least.

        Args:
            accelerator: that prepared `loader`; the teacher is on its device.
            loader: the student's training images without random changes.
            classes: the student's.
            strength: L2 regularisation.
            file: safetensors file that keeps the head, so that a resumed run has the same; read where it exists.

        Raises:
            ValueError: `file` holds no head for this teacher.
        """
        width = sum(head.in_features for head in self.heads.values())
        if file is not None and file.exists():
            tensors = _read_head(file, classes, width)
        else:
            features = extract_features(accelerator, self, loader, self.heads.values())
            classifier = fit_ridge(features.values, features.labels, classes, strength)
            classifier = classifier.scaled(fit_scale(classifier.held_out, features.labels))
            tensors = {
                "weight": torch.from_numpy(classifier.weight).float().contiguous(),
                "bias": torch.from_numpy(classifier.bias).float(),
            }
            if file is not None and accelerator.is_main_process:
                with whole_file(file) as unfinished:
                    save_file(tensors, unfinished)
        self._set_heads(**tensors)

    def _set_heads(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.heads = set_heads(self.network, self.heads, weight, bias)
        self.requires_grad_(False).eval()


def load_teacher(
    settings: MethodSettings, label_names: list[str], preparation: Preparation, multi_label: bool = False
) -> Teacher:
    """The teacher that the settings name, on the CPU; with `--teacher-head ridge`, call its `fit_head` next.

    Args:
        settings: with a teacher.
        label_names: the student's classes.
        preparation: of the student's images.
        multi_label: whether an image has several classes.

    Raises:
        ValueError: no such teacher, no weights, weights or classes that do not fit, or several classes an image.
        OSError: the Hub cannot be reached and the files are not in its cache.
    """
    if multi_label:
        raise ValueError("A teacher was named for images of several classes; expected one class an image.")
    source = build_teacher(settings.teacher, settings.teacher_weights)
    if settings.teacher_image_size is not None:
        source.size = (settings.teacher_image_size, settings.teacher_image_size)
    student = PixelScale.of(preparation.processor)
    if settings.teacher_head == "ridge":
        return Teacher(source, student, len(label_names))
    classes = match_classes(label_names, source.class_names, source.outputs, settings.teacher_classes)
    return Teacher(source, student, classes)


def _read_head(file: Path, classes: int, width: int) -> dict[str, Any]:
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"The teacher's head {file} cannot be read: {error}.") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {"weight": (classes, width), "bias": (classes,)}
    if shapes != expected:
        raise ValueError(f"The teacher's head {file} has the tensors {shapes}; expected {expected}.")
    return tensors


# Distillation: a student learns from a teacher's answers beside the labels.


class DistillationObjective:
    """`(1 - weight)` of the loss against the labels and `weight` of the loss against the teacher.

    `hard` takes the teacher's best class as a label (Touvron et al., Training Data-Efficient Image Transformers, ICML
    2021, equation 3). `soft` takes the Kullback-Leibler divergence from its probabilities, both sides at a temperature
    T, times T squared (Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2; equation 2 of the
    former). A distilled DeiT learns the labels with its class token and the teacher with its distillation token. The
    teacher sees the very images the student sees, mixed or not.

    Args:
        base_loss: from logits (B, classes) and the batch's labels to a scalar.
        teacher: from `load_teacher`, on the student's device.
        kind: `"hard"` or `"soft"`.
        weight: in [0, 1].
        temperature: T, of `soft`.
        autocast: makes the context that the teacher computes in, for example `accelerator.autocast`.
    """

    def __init__(
        self,
        base_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        teacher: Teacher,
        kind: Literal["hard", "soft"],
        weight: float = 0.5,
        temperature: float = 3.0,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self.base_loss, self.teacher, self.kind = base_loss, teacher, kind
        self.weight, self.temperature, self.autocast = weight, temperature, autocast

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        """The scalar loss of a batch."""
        outputs = model(pixel_values=batch["pixel_values"])
        if "distillation_logits" in outputs:
            logits, distilled = outputs.cls_logits.float(), outputs.distillation_logits.float()
        else:
            logits = distilled = outputs.logits.float()
        with self.autocast():
            answers = self.teacher(batch["pixel_values"]).float()
        base = self.base_loss(logits, batch["labels"])
        return (1 - self.weight) * base + self.weight * self.distillation_loss(distilled, answers)

    def distillation_loss(self, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """The loss of a student's logits against a teacher's, both (B, classes)."""
        if self.kind == "hard":
            return F.cross_entropy(logits, answers.argmax(1))
        student, teacher = ((scores / self.temperature).log_softmax(1) for scores in (logits, answers))
        return self.temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
