# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the page says about each family and each way of mixing tokens."""

import re

from hf_vit_family.families import FAMILIES, Family

from ...families.layers import Layer


def mixing_text(layer: Layer) -> str:
    """How a layer mixes tokens, with its own numbers."""
    height, width = layer.size
    down, right = layer.block_size
    keys_down, keys_right = layer.key_size
    return {
        "global": (
            f"Every token attends to all {height * width:,} tokens of the map"
            + ("", " and to the class token", " and to the class and distillation tokens")[layer.extra]
            + ". Where a token lies plays no part in it, except through what the family adds for positions."
        ),
        "window": (
            f"The map is cut into windows of {down} x {right} tokens. A token attends to the tokens of its own window."
        ),
        "shifted window": (
            f"The map is rolled up and left by {layer.shift} tokens and then cut into windows of {down} x {right}. "
            "Windows at the lower and right edge now hold parts that were not neighbours; a mask keeps these from "
            "attending to one another. Afterwards the map is rolled back."
        ),
        "grid": (
            f"A grid of {down} x {right} is laid over the map. A token attends to the tokens that lie at the same "
            f"place of the grid's areas: {down * right} tokens, spread over the whole image."
        ),
        "reduced": (
            f"A convolution makes one key of each {down} x {right} tokens: {keys_down} x {keys_right} keys for "
            f"{height * width:,} queries. Every token attends to all keys, and so looks at the whole image coarsely."
        ),
        "pooled keys": (
            f"The map is averaged to {down} x {right} keys, whatever its size. Every token attends to all of them."
        ),
        "convolutional": (
            f"Convolutions of {down} x {right} tokens make queries, keys and values. Those of keys and values take "
            f"steps of {layer.stride}: {keys_down} x {keys_right} keys for {height * width:,} queries. Every token "
            "attends to all keys."
        ),
        "unfolded": (
            f"The map is cut into patches of {down} x {right}. Tokens that have the same place in their patch attend "
            f"to one another: {down * right} sequences that see every second row and column."
        ),
        "separable": (
            f"The map is unfolded into {down * right} sequences: tokens with the same place in their patch of "
            f"{down} x {right}. In a sequence each token has one score; the weighted mean is handed to all of them."
        ),
        "pooling": (
            f"Each token takes the average of the {down} x {right} tokens around it, less itself. At the edge of the "
            "map the neighbourhood ends."
        ),
    }[layer.kind]


TITLES = {
    "global": "global attention",
    "window": "windows",
    "shifted window": "shifted windows",
    "grid": "grid",
    "reduced": "spatially reduced keys",
    "pooled keys": "pooled keys",
    "convolutional": "convolutional projections",
    "unfolded": "unfolding",
    "separable": "unfolding, separable attention",
    "pooling": "pooling",
}


def layer_title(layer: Layer, family: str) -> str:
    """For example "Stage 2, block 1: shifted windows on a map of 28 x 28 tokens"."""
    name = FAMILIES[family].layer_names.get(layer.kind, TITLES[layer.kind])
    where = f"Block {layer.block}" if layer.stage is None else f"Stage {layer.stage}, block {layer.block}"
    return f"{where}: {name} on a map of {layer.size[0]} x {layer.size[1]} tokens"


# Papers as the zoo names them, for the page.


_ARXIV = re.compile(r"arxiv\.org/abs/([\d.]+)")


def arxiv_ids(family: Family) -> list[str]:
    """The numbers of a family's papers on arXiv, for example ["2103.14030"]."""
    return _ARXIV.findall(family.paper_url)


def paper_link(family: Family) -> str:
    """A line of Markdown: authors, title, venue and the paper's number, for two papers both."""
    links = ", ".join(f"[arXiv:{number}](https://arxiv.org/abs/{number})" for number in arxiv_ids(family))
    return f"Paper: {family.paper} ({links})."
