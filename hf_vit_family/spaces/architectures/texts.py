# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the page says about each family and each way of mixing tokens."""

import re

from hf_vit_family.zoo import Family

from .layers import Layer

# by family: two to four sentences
FAMILIES = {
    "vit": (
        "The image is cut into square patches, and a linear layer makes a token of each. A class token joins them, and "
        "positions are learned and added. From then on it is a plain transformer: in every layer every token attends "
        "to every other, and the map keeps its size until the end."
    ),
    "deit": (
        "The architecture is ViT's; what is new is the training, which does with ImageNet-1k alone. A distilled DeiT "
        "has a second extra token, which learns to repeat the answers of a convolutional teacher. Both tokens answer, "
        "and the mean of the two counts."
    ),
    "beit": (
        "Patches and global attention as in ViT, with a relative position bias in every layer. What is new is the "
        "pretraining: some patches are hidden, and the model has to name the discrete visual tokens that belong there."
    ),
    "swin": (
        "Tokens attend only inside windows, so that the cost grows with the image and not with its square. Every other "
        "layer shifts the windows by half their size, which connects neighbours across borders. Between stages 2 x 2 "
        "tokens are merged into one, so that maps shrink as in a convolutional network."
    ),
    "swinv2": (
        "Swin's windows and shifts, made fit for larger models and images. Attention compares by cosine, and norms "
        "stand behind the branches instead of in front. The position bias comes from a small network of the "
        "logarithmic distance, so that a model can be trained with windows of one size and used with another."
    ),
    "twins": (
        "Twins-SVT alternates two layers: attention inside windows, then attention of every token to a map that a "
        "strided convolution has reduced. Twins-PCPVT has only the second kind. Positions come from a 3 x 3 "
        "convolution behind the first block of a stage, so that any image size works."
    ),
    "maxvit": (
        "Each block has a convolution (MBConv) and two attentions: one inside windows of neighbours, one inside a grid "
        "of tokens spread evenly over the whole map. Together they connect all places at a cost that grows with the "
        "image and not with its square."
    ),
    "poolformer": (
        "A transformer's block in which attention is replaced by a 3 x 3 average: each token takes the mean of its "
        "neighbourhood and subtracts itself. It was built to show how much of a transformer's success is due to the "
        "layout of its blocks. Nothing in the mixing is learned and nothing depends on the content."
    ),
    "cvt": (
        "Query, key and value come from small convolutions over the map of tokens instead of linear layers. Keys and "
        "values take every second token in each direction, a quarter of them. The convolutions know the neighbourhood, "
        "so that the model does without positions."
    ),
    "pvt": (
        "The first pyramid of transformers: four stages of shrinking maps, as dense tasks want them. Large maps are "
        "made affordable by reducing keys and values: a strided convolution makes one key of R x R tokens, and every "
        "query attends to all of these few keys."
    ),
    "pvt_v2": (
        "PVT with patches that overlap, and a 3 x 3 convolution inside each MLP in the place of positions. In the "
        "linear variant keys are averaged to a map of 7 x 7, whatever the size of the image."
    ),
    "mobilevit": (
        "A light convolutional network (MobileNetV2's blocks) with three transformer blocks inside. There the map is "
        "unfolded: of each patch of 2 x 2 tokens one joins each of four sequences, attention runs inside a sequence, "
        "and the map is folded again. Convolutions on both sides bring the four together."
    ),
    "mobilevitv2": (
        "MobileViT with separable attention: each token gets one score, the scores make a weighted mean of all tokens, "
        "and this one vector is handed to every token. The cost grows with the number of tokens and not with its "
        "square."
    ),
}


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
    name = TITLES[layer.kind]
    if family == "twins" and layer.kind == "reduced":
        name = "global sub-sampled attention"
    if family == "twins" and layer.kind == "window":
        name = "locally grouped attention"
    where = f"Block {layer.block}" if family in ("vit", "deit", "beit") else f"Stage {layer.stage}, block {layer.block}"
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
