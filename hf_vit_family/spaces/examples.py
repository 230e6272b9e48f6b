# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The images that a page offers: Fashion-MNIST test images, and photographs for what needs no label."""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from ..zoo.labels import labels
from ..zoo.registry import unknown_name

ASSETS = Path(__file__).resolve().parents[1] / "assets"
FASHION_MNIST = "fashion_mnist"
PHOTOGRAPH = "photograph"
_TEST_SET = ASSETS / "fashion_mnist" / "test-00000-of-00001.parquet"
_MIT = "MIT (Zalando SE)"


@dataclass(frozen=True)
class Example:
    """One image that comes with the package.

    Attributes:
        name: how a share link calls it.
        title: what a visitor reads.
        label: its class, None where it has none of a data set.
        domain: `"fashion_mnist"` or `"photograph"`.
        license: its terms, with whoever gave them.
        alt: what there is to see, for those who cannot.
    """

    name: str
    title: str
    label: str | None
    domain: str
    license: str
    alt: str


# By class, in the order of the data set. The image is the first of its class in the embedded test set: not chosen.
_CLOTHES = (
    ("t-shirt", "A striped T-shirt with short sleeves"),
    ("trouser", "A pair of patterned trousers"),
    ("pullover", "A pullover with long sleeves and a round print on the chest"),
    ("dress", "A long light dress with thin straps"),
    ("coat", "A light buttoned coat with long sleeves"),
    ("sandal", "A flat sandal seen from the side"),
    ("shirt", "A long shirt with a round neck and three-quarter sleeves"),
    ("sneaker", "A light sneaker seen from the side, toe to the right"),
    ("bag", "A rectangular light bag with a thin strap"),
    ("ankle-boot", "An ankle boot seen from the side"),
)
_PHOTOGRAPHS = (
    Example("cat", "Cat", None, PHOTOGRAPH, "CC0 (Stéfan van der Walt)", "The face of a tabby cat with green eyes"),
    Example(
        "coffee",
        "Cup of coffee",
        None,
        PHOTOGRAPH,
        "CC0 (Rachel Michetti, courtesy of Pikolo Espresso Bar)",
        "An espresso in a red and white cup on a red saucer with a spoon, on a wooden table",
    ),
    Example(
        "rocket",
        "Rocket",
        None,
        PHOTOGRAPH,
        "public domain (SpaceX)",
        "A white rocket on its launch pad at dusk between four lattice towers",
    ),
)


@cache
def examples(domain: str) -> tuple[Example, ...]:
    """The examples of a domain.

    Args:
        domain: `"fashion_mnist"`, ten test images, one of each class, or `"photograph"`, three photographs.

    Raises:
        ValueError: another domain.
    """
    if domain == PHOTOGRAPH:
        return _PHOTOGRAPHS
    if domain != FASHION_MNIST:
        raise unknown_name("domain of examples", domain, (FASHION_MNIST, PHOTOGRAPH))
    named = zip(labels("fashion-mnist"), _CLOTHES, strict=True)
    return tuple(
        Example(name, label, label, FASHION_MNIST, _MIT, f"{alt}, light grey on black, 28 x 28 pixels")
        for label, (name, alt) in named
    )


def find_example(name: str) -> Example:
    """The example called `name`, of either domain.

    Raises:
        ValueError: there is none.
    """
    known = {example.name: example for domain in (FASHION_MNIST, PHOTOGRAPH) for example in examples(domain)}
    if name not in known:
        raise unknown_name("example", name, known)
    return known[name]


def example_image(name: str) -> Image.Image:
    """The image of an example, RGB: 28 x 28 pixels of Fashion-MNIST, at most 512 a side of a photograph.

    Raises:
        ValueError: there is no such example.
    """
    example = find_example(name)
    if example.domain == PHOTOGRAPH:
        with Image.open(ASSETS / "photographs" / f"{name}.jpg") as image:
            return image.convert("RGB")
    with Image.open(io.BytesIO(_test_images()[example.label])) as image:
        return image.convert("RGB")


@cache
def _test_images() -> dict[str, bytes]:
    """By label, the PNG file of the first image of that class in the embedded test set."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(_TEST_SET) as file:  # read_table would import pandas, which takes seconds
        table = file.read(columns=["image.bytes", "label"])
    classes, first = labels("fashion-mnist"), {}
    for image, index in zip(table["image"], table["label"], strict=True):
        first.setdefault(classes[index.as_py()], image)
    return {label: image["bytes"].as_py() for label, image in first.items()}
