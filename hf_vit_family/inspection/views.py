# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a method of `hf-vit-family inspect` is: from a request to pictures and the numbers behind them."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import torch
from torch import nn
from transformers import PreTrainedModel

from ..explanation_methods import EXPLANATION_METHODS, MIXING, ROLLOUT, ExplanationMethod
from ..families.registry import family_of
from .capture import choose_classes
from .cka import layer_similarity
from .explanations import EXPLANATIONS
from .hidden import block_names, feature_colours, logit_lens, patch_filters, token_similarity
from .pictures import draw_colours, draw_distances, draw_grid, draw_mosaic, draw_overlays, draw_similarity
from .positions import position_similarity, receptive_field, relative_position_bias
from .reading import find_mixing, has_attention
from .rollout import (
    CLASS_TOKEN,
    attention_distance,
    attention_map,
    attention_rollout,
    check_head,
    check_layer,
    find_places,
    mixing_map,
)
from .transformers_models import position_embeddings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Request:
    """What is to be looked at.

    Attributes:
        model: an image classifier.
        name: of the model, for titles.
        pixel_values: (images, channels, height, width), as the image processor gives them.
        images: (images, height, width, 3) from 0 to 1, as the model sees them.
        image_names: one an image.
        logits: (images, classes) of the model.
        layer, head, query, target: options of the methods that take them; None for their defaults.
        other: a second model, for methods that compare two.
        other_name: its name.
        other_pixel_values: the same images as it takes them.
    """

    model: PreTrainedModel
    name: str
    pixel_values: torch.Tensor
    images: torch.Tensor
    image_names: list[str]
    logits: torch.Tensor
    layer: int | None = None
    head: int | None = None
    query: tuple[int, int] | str | None = None
    target: int | None = None
    other: nn.Module | None = None
    other_name: str | None = None
    other_pixel_values: torch.Tensor | None = None

    @property
    def classes(self) -> list[int]:
        """The class that each image is looked at for: the one asked for, or the predicted one."""
        return choose_classes(self.logits, self.target).tolist()

    def label(self, index: int) -> str:
        """The name of a class."""
        return str(self.model.config.id2label.get(index, index))

    def captions(self) -> list[str]:
        """Each image's name with the class that it is looked at for."""
        return [f"{name}: {self.label(index)}" for name, index in zip(self.image_names, self.classes, strict=True)]


@dataclass(frozen=True)
class View:
    """One picture.

    Attributes:
        name: the files' name without ending.
        title: model, layer and method, as on the picture.
        arrays: what it shows, by name.
        draw: the picture in a theme.
    """

    name: str
    title: str
    arrays: Mapping[str, torch.Tensor]
    draw: Callable[[str], "Figure"]


@dataclass(frozen=True)
class Method:
    """A way to look inside.

    Attributes:
        name: on the command line.
        summary: one line for the help.
        run: makes the views of a request.
        options: which of a request's options it takes: "layer", "head", "query", "target", "other".
        unfit: why it does not fit a request, as a sentence; None where it does.
    """

    name: str
    summary: str
    run: Callable[[Request], list[View]]
    options: frozenset[str] = field(default_factory=frozenset)
    unfit: Callable[[Request], str | None] = lambda request: None


def no_attention(request: Request) -> str | None:
    """Why attention cannot be looked at; None where it can."""
    if has_attention(request.model):
        return None
    return f"A {request.model.config.model_type} has no attention; mixing-map shows how it hands tokens on."


def unfit_by(method: ExplanationMethod) -> Callable[[Request], str | None]:
    """The rule of a method, asked of a request."""
    return lambda request: method.reason_against(family_of(request.model))


def each_image(method: str, request: Request, make: Callable[[int, str], View]) -> list[View]:
    """One view an image; file names carry the image's where there are several."""
    single = len(request.image_names) == 1
    return [make(index, method if single else f"{method}-{name}") for index, name in enumerate(request.image_names)]


# Attention as pictures: rollout, single layers, distances; and the fixed mixing of models without attention.


def _rollout(request: Request) -> list[View]:
    maps = attention_rollout(request.model, request.pixel_values)
    title = f"{request.name}\nattention rollout {ROLLOUT.where}"

    def draw(theme: str):
        return draw_overlays(request.images, maps, title, request.captions(), ROLLOUT.measure, theme=theme)

    return [View(ROLLOUT.command, title, {"maps": maps}, draw)]


def _mixing_map(request: Request) -> list[View]:
    values = mixing_map(request.model, tuple(request.pixel_values.shape[2:]))
    maps = values.expand(len(request.images), -1, -1)
    title = f"{request.name}\nmixing map {MIXING.where}"

    def draw(theme: str):
        return draw_overlays(request.images, maps, title, request.captions(), MIXING.measure, theme=theme)

    return [View(MIXING.command, title, {"map": values}, draw)]


def _attention(request: Request) -> list[View]:
    model, pixel_values = request.model, request.pixel_values
    mixing = find_mixing(model)
    count = len(mixing.layers(model))
    layer = check_layer(-1 if request.layer is None else request.layer, count)
    places = find_places(model, mixing, pixel_values.shape, layer)
    query = request.query
    if query is None:
        query = CLASS_TOKEN if bool((places.rows < 0).any()) else (places.grid[0] // 2, places.grid[1] // 2)
    (distances,) = attention_distance(model, pixel_values, [layer])
    heads = range(len(distances)) if request.head is None else [check_head(request.head, len(distances), layer)]
    maps = torch.stack([attention_map(model, pixel_values, layer, query, head) for head in heads], 1)
    names = [f"head {head} ({distances[head]:.0f} px)" for head in heads]
    if request.head is None:
        maps, names = torch.cat([maps, maps.mean(1, keepdim=True)], 1), [*names, "mean of the heads"]
    place = "the class token" if query == CLASS_TOKEN else f"the token at row {query[0]}, column {query[1]}"
    head = "" if request.head is None else f", head {heads[0]}"

    def make(index: int, name: str) -> View:
        where = f"in layer {layer} of 0 to {count - 1}{head}"
        title = f"{request.name}\nattention of {place} {where} (px: how far heads look on average)"

        def draw(theme: str):
            marks = None if query == CLASS_TOKEN else [query] * len(names)
            image = request.images[index]
            return draw_grid(list(maps[index]), names, title, "attention weight", marks=marks, image=image, theme=theme)

        return View(name, title, {"maps": maps[index], "distance": distances}, draw)

    return each_image("attention", request, make)


def _distance(request: Request) -> list[View]:
    layers = None if request.layer is None else [request.layer]
    distances = attention_distance(request.model, request.pixel_values, layers)
    images = len(request.images)
    title = f"{request.name}\nattention distance by layer, one dot a head, mean of {images} image{'s'[: images > 1]}"
    count = len(find_mixing(request.model).layers(request.model))
    indices = list(range(count)) if layers is None else [check_layer(request.layer, count)]
    arrays = {f"layer_{index}": heads for index, heads in zip(indices, distances, strict=True)}
    return [View("distance", title, arrays, lambda theme: draw_distances(distances, title, indices, theme))]


ATTENTION_METHODS = [
    Method(ROLLOUT.command, ROLLOUT.summary, _rollout, unfit=unfit_by(ROLLOUT)),
    Method(
        "attention",
        "where one token looks in one layer, head by head",
        _attention,
        frozenset({"layer", "head", "query"}),
        no_attention,
    ),
    Method("distance", "how far the heads of each layer look", _distance, frozenset({"layer"}), no_attention),
    Method(MIXING.command, MIXING.summary, _mixing_map, unfit=unfit_by(MIXING)),
]


# Maps that say which places speak for a class, as pictures.


def explanation(method: ExplanationMethod) -> Method:
    """What the command makes of a method of one class."""

    def run(request: Request) -> list[View]:
        classes = request.classes
        maps = EXPLANATIONS[method.name](request.model, request.pixel_values, classes)
        asked = "the predicted classes" if request.target is None else f"the class {request.label(request.target)}"
        title = f"{request.name}\n{method.command} {method.where}, for {asked}"

        def draw(theme: str):
            names = request.captions()
            return draw_overlays(request.images, maps, title, names, method.measure, signed=method.signed, theme=theme)

        return [View(method.command, title, {"maps": maps, "classes": torch.tensor(classes)}, draw)]

    return Method(method.command, method.summary, run, frozenset({"target"}), unfit_by(method))


EXPLAINING = [explanation(method) for method in EXPLANATION_METHODS.values() if method.of_class]


# What the tokens hold, block by block: colours, similarity, class logits, receptive fields, CKA.


MOST_BLOCKS = 18
LEAST_IMAGES = 8


def _pca(request: Request) -> list[View]:
    found = feature_colours(request.model, request.pixel_values, -1 if request.layer is None else request.layer)
    title = f"{request.name}\nfeature colours of {found.name}"
    shares = ", ".join(f"{100 * share:.0f}" for share in found.explained.tolist())
    note = f"red, green and blue are principal components 1 to 3, with {shares} % of the tokens' variance"

    def draw(theme: str):
        pictures = [panel for pair in zip(request.images, found.colours, strict=True) for panel in pair]
        names = [text for caption in request.image_names for text in (caption, "features")]
        return draw_colours(pictures, names, title, note, theme=theme, together=2)

    arrays = {"colours": found.colours, "components": found.components, "explained": found.explained}
    return [View("pca", title, arrays, draw)]


def _similarity(request: Request) -> list[View]:
    names = block_names(request.model)
    layers = _spread(len(names)) if request.layer is None else [request.layer]
    found = token_similarity(request.model, request.pixel_values, layers)
    references = sorted({block.reference for block in found})

    def make(index: int, name: str) -> View:
        title = f"{request.name}\nsimilarity of each token to the {' or the '.join(references)}, by block"
        maps = [block.values[index] for block in found]
        shown = [block.name if len(references) == 1 else f"{block.name}\nto the {block.reference}" for block in found]
        arrays = {f"block_{layer % len(names)}": values for layer, values in zip(layers, maps, strict=True)}

        def draw(theme: str):
            image = request.images[index]
            return draw_grid(maps, shown, title, "cosine similarity", signed=True, reach=1.0, image=image, theme=theme)

        return View(name, title, arrays, draw)

    return each_image("similarity", request, make)


def _logit_lens(request: Request) -> list[View]:
    found = logit_lens(request.model, request.pixel_values, None if request.layer is None else [request.layer])
    found = found[-MOST_BLOCKS:]

    def make(index: int, name: str) -> View:
        chosen = request.classes[index]
        title = f"{request.name}\nlogit lens: {request.label(chosen)} in each patch, by block"
        several = request.logits.shape[1] > 1
        # what a patch says for a class, against what it says for all
        maps = [
            block.logits[index, ..., chosen] - (block.logits[index].mean(-1) if several else 0.0) for block in found
        ]
        arrays = {f"logits_{block.name.split()[1]}": block.logits[index] for block in found}
        measure = "logit above the mean of all classes" if several else "output"

        def draw(theme: str):
            names = [block.name for block in found]
            return draw_grid(maps, names, title, measure, signed=True, image=request.images[index], theme=theme)

        return View(name, title, arrays, draw)

    return each_image("logit-lens", request, make)


def _receptive_field(request: Request) -> list[View]:
    names = block_names(request.model)
    layers = _spread(len(names)) if request.layer is None else [request.layer]
    query = request.query if isinstance(request.query, tuple) else None
    found = receptive_field(request.model, request.pixel_values, layers, query)
    images = len(request.images)
    token = "the middle token" if query is None else f"the token at row {query[0]}, column {query[1]}"
    title = f"{request.name}\neffective receptive field of {token}, mean of {images} image{'s'[: images > 1]}"
    arrays = {f"block_{layer % len(names)}": field.values for layer, field in zip(layers, found, strict=True)}

    def draw(theme: str):
        maps = [field.values / field.values.max().clamp(min=torch.finfo(torch.float32).tiny) for field in found]
        shown = [field.name for field in found]
        return draw_grid(maps, shown, title, "gradient by pixel, largest = 1", power=0.4, theme=theme)

    return [View("receptive-field", title, arrays, draw)]


def _receptive_field_of_class(request: Request) -> str | None:
    return "receptive-field takes --query ROW,COLUMN." if isinstance(request.query, str) else None


def _cka(request: Request) -> list[View]:
    count = len(request.images)
    found = layer_similarity(
        request.model, request.pixel_values, request.other, request.other_pixel_values, batch_size=count
    )
    names = ("", "") if request.other is None else (request.name, request.other_name)
    pair = " and ".join(names) if request.other is not None else request.name
    title = f"{pair}\nsimilarity of layers (unbiased linear CKA), {count} images"

    def draw(theme: str):
        return draw_similarity(found.values, found.rows, found.columns, title, *names, theme)

    return [View("cka", title, {"cka": found.values}, draw)]


def _too_few_images(request: Request) -> str | None:
    count = len(request.images)
    if count >= LEAST_IMAGES:
        return None
    return f"CKA compares how alike images are; it needs {LEAST_IMAGES} images or more, and got {count}."


def _spread(count: int) -> list[int]:
    """All blocks, or evenly spread ones of many, the last among them."""
    if count <= MOST_BLOCKS:
        return list(range(count))
    return sorted({round(index * (count - 1) / (MOST_BLOCKS - 1)) for index in range(MOST_BLOCKS)})


TOKEN_METHODS = [
    Method("pca", "the tokens of a block as colours", _pca, frozenset({"layer"})),
    Method("similarity", "how alike tokens and class token are, by block", _similarity, frozenset({"layer"})),
    Method("logit-lens", "what each patch says for a class, by block", _logit_lens, frozenset({"layer", "target"})),
    Method(
        "receptive-field",
        "which pixels move the middle token, by block",
        _receptive_field,
        frozenset({"layer", "query"}),
        _receptive_field_of_class,
    ),
    Method("cka", "how alike layers are, of one model or two (--with)", _cka, frozenset({"other"}), _too_few_images),
]


# What weights alone tell, whatever the image: position embeddings, patch filters, relative position biases.


MOST_TABLES = 48


def _refusal(look):
    """The sentence of a function that refuses the model."""

    def unfit(request: Request) -> str | None:
        try:
            look(request.model)
        except ValueError as error:
            return str(error)
        return None

    return unfit


def _positions(request: Request) -> list[View]:
    stage = request.layer or 0
    similarity = position_similarity(request.model, stage)
    where = f" of stage {stage + 1}" if len(position_embeddings(request.model)) > 1 else ""
    title = f"{request.name}\nsimilarity of position embeddings{where}: each place to all places"

    def draw(theme: str):
        return draw_mosaic(similarity, title, "cosine similarity", theme=theme)

    return [View("positions", title, {"similarity": similarity}, draw)]


def _filters(request: Request) -> list[View]:
    found = patch_filters(request.model)
    components = found.components
    share = float(found.explained.sum())
    title = f"{request.name}\nprincipal components of the patch embedding's filters, the strongest first"
    reach = components.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    if components.shape[1] == 3:
        tiles = (0.5 + 0.5 * components / reach).permute(0, 2, 3, 1)
        note = f"{len(tiles)} components with {share:.0%} of the variance; grey is zero, colours are red, green, blue"

        def draw(theme: str):
            return draw_colours(list(tiles), [""] * len(tiles), title, note, columns=7, theme=theme)
    else:
        planes = (components / reach).mean(1)

        def draw(theme: str):
            names = [f"component {index}" for index in range(len(planes))]
            measure = "weight, mean of the channels"
            return draw_grid(list(planes), names, title, measure, columns=7, signed=True, theme=theme)

    return [View("filters", title, {"components": components, "explained": found.explained}, draw)]


def _bias(request: Request) -> list[View]:
    layers = None if request.layer is None else [request.layer]
    tables = relative_position_bias(request.model, layers)
    arrays = {table.name.replace(" ", "_").replace("(", "").replace(")", ""): table.values for table in tables}
    maps = [values for table in tables for values in table.values]
    names = [f"{table.name}\nhead {head}" for table in tables for head in range(len(table.values))]
    if len(maps) > MOST_TABLES:  # too many to be seen: the mean of each layer's heads
        maps, names = [table.values.mean(0) for table in tables], [table.name for table in tables]
        what = "relative position bias, mean of each layer's heads"
    else:
        what = "relative position bias by head"
    title = f"{request.name}\n{what}; the query in the middle"
    signed = any(bool((values < 0).any()) for values in maps)

    def draw(theme: str):
        return draw_grid(maps, names, title, "added to the score", signed=signed, theme=theme)

    return [View("bias", title, arrays, draw)]


WEIGHT_METHODS = [
    Method(
        "positions",
        "similarity of position embeddings (--layer: the stage of a PVT)",
        _positions,
        frozenset({"layer"}),
        _refusal(position_similarity),
    ),
    Method("filters", "principal components of the patch embedding", _filters, unfit=_refusal(patch_filters)),
    Method(
        "bias",
        "relative position biases by head",
        _bias,
        frozenset({"layer"}),
        _refusal(lambda model: relative_position_bias(model, [0])),
    ),
]


# One page of all pictures of a model, which lie beside it; it needs no network and no script.


STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --text: #1b1d21; --quiet: #565b63; --line: #d5d8dd; }
@media (prefers-color-scheme: dark) { :root { --page: #15171b; --text: #e7e9ec; --quiet: #a9afb8; --line: #3a3f47; } }
body { margin: 0 auto; padding: 1.25rem; max-width: 70rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--line); }
nav a { margin-right: .9rem; white-space: nowrap; }
a { color: inherit; }
p, figcaption { color: var(--quiet); margin: .25rem 0; }
figure { margin: .75rem 0 1.5rem; }
img { display: block; max-width: 100%; height: auto; }
"""


def render(
    request: Request, written: Sequence[tuple[Method, str, Path, Path]], left_out: Sequence[tuple[str, str]]
) -> str:
    """The page.

    Args:
        request: what was looked at.
        written: for each picture its method, title, file and file of arrays, in the page's folder.
        left_out: methods that do not fit, and why.
    """
    images = "; ".join(
        f"{name}: {request.label(int(logits.argmax()))}"
        for name, logits in zip(request.image_names, request.logits, strict=True)
    )
    captioned = [(method, title.replace("\n", ": "), *files) for method, title, *files in written]
    methods = {method.name: method for method, *_ in written}
    links = " ".join(f'<a href="#{name}">{name}</a>' for name in methods)
    sections = []
    for name, method in methods.items():
        figures = [
            f'<figure><a href="{quote(picture.name)}"><img src="{quote(picture.name)}" loading="lazy" '
            f'alt="{html.escape(title)}"></a><figcaption>{html.escape(title)}; '
            f'<a href="{quote(numbers.name)}">{html.escape(numbers.name)}</a></figcaption></figure>'
            for of, title, picture, numbers in captioned
            if of.name == name
        ]
        summary = html.escape(method.summary)
        sections.append(f'<h2 id="{name}">{name}</h2><p>{summary}</p>{"".join(figures)}')
    if left_out:
        reasons = "".join(f"<p>{html.escape(name)}: {html.escape(reason)}</p>" for name, reason in left_out)
        sections.append(f"<h2>Left out</h2>{reasons}")
    title = html.escape(f"Inside {request.name}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1><p>{html.escape(images)}</p><nav>{links}</nav>"
        f"{''.join(sections)}</body></html>\n"
    )


METHODS: dict[str, Method] = {
    method.name: method for method in (*ATTENTION_METHODS, *EXPLAINING, *TOKEN_METHODS, *WEIGHT_METHODS)
}
