"""Raw attention and attention distance against matrices that are filled in token by token, here, for every family."""

import itertools

import numpy as np
import pytest
import torch
from test_inspection_rollout import convolution
from zoo_models import images, random_model

from hf_vit_family import attention_distance, attention_map
from hf_vit_family.inspection.capture import capture_attention
from hf_vit_family.inspection.reading import find_mixing

SWIN = {"window_size": 3, "depths": [2, 2, 2, 1], "image_size": 80}
# family, overrides, pixels, layer, its map, class tokens, how its softmax is to be read
LAYERS = [
    ("vit", {}, (32, 32), 1, (4, 4), 1, ("all",)),
    ("deit", {}, (32, 32), 0, (4, 4), 2, ("all",)),
    ("beit", {}, (40, 24), 1, (5, 3), 1, ("all",)),
    ("swin", SWIN, (80, 80), 1, (20, 20), 0, ("window", 3, 1)),
    ("swin", SWIN, (96, 72), 3, (12, 9), 0, ("window", 3, 1)),
    ("swinv2", SWIN, (80, 80), 1, (20, 20), 0, ("window", 3, 1)),
    ("swinv2", SWIN, (80, 80), 2, (10, 10), 0, ("window", 3, 0)),
    ("twins", {}, (96, 72), 0, (24, 18), 0, ("window", 7, 0)),
    ("twins", {}, (96, 72), 3, (6, 4), 0, ("reduced", 2, 2, 0)),
    ("maxvit", {}, (80, 56), 0, (20, 14), 0, ("window", 7, 0)),
    ("maxvit", {}, (80, 56), 3, (10, 7), 0, ("grid", 7, 0)),
    ("pvt", {}, (64, 64), 0, (16, 16), 0, ("reduced", 8, 8, 0)),
    ("pvt", {}, (64, 64), 3, (2, 2), 1, ("all",)),
    ("pvt_v2", {}, (96, 72), 1, (12, 9), 0, ("reduced", 4, 4, 0)),
    ("cvt", {}, (96, 72), 0, (24, 18), 0, ("reduced", 3, 2, 1)),
    ("cvt", {}, (96, 72), 5, (6, 5), 1, ("reduced", 3, 2, 1)),
    ("mobilevit", {}, (64, 96), 0, (8, 12), 0, ("places",)),
    ("mobilevit", {}, (64, 96), 8, (2, 4), 0, ("places",)),
    ("mobilevitv2", {}, (64, 96), 0, (8, 12), 0, ("places",)),
]


def place_of(kind, side, shift, shape, row, column):
    """The window or grid cell of a token, and its place in there."""
    down, right = -(-shape[0] // side), -(-shape[1] // side)
    row, column = (row - shift) % (down * side), (column - shift) % (right * side)
    if kind == "window":
        return (row // side) * right + column // side, (row % side) * side + column % side
    return (row % down) * right + column % right, (row // down) * side + column // right


def written_out(weights, shape, extra, how):
    """Weights (rows, heads, queries, keys) of one image as (heads, tokens, keys), and the keys' tokens (keys, tokens).

    Class tokens stand in front of both.
    """
    tokens = list(np.ndindex(shape))
    if how[0] in ("all", "reduced"):
        keys = np.eye(len(tokens)) if how[0] == "all" else convolution(shape, how[1], how[2], *[(how[3],) * 2] * 2)[0]
        grown = np.eye(len(keys) + extra, len(tokens) + extra)
        grown[extra:, extra:] = keys
        return weights[0], grown
    attention = np.zeros((weights.shape[1], len(tokens), len(tokens)))
    for (i, query), (j, key) in itertools.product(enumerate(tokens), repeat=2):
        if how[0] == "places":  # of 2x2 patches; Mobile ViT V2 has one row for all queries
            if (query[0] % 2, query[1] % 2) == (key[0] % 2, key[1] % 2):
                patch = [(row // 2) * (shape[1] // 2) + column // 2 for row, column in (query, key)]
                row = 0 if weights.shape[2] == 1 else patch[0]
                attention[:, i, j] = weights[(query[0] % 2) * 2 + query[1] % 2, :, row, patch[1]]
            continue
        (window, inside), (other, there) = (place_of(*how, shape, *token) for token in (query, key))
        if window == other:
            attention[:, i, j] = weights[window, :, inside, there]
    return attention, np.eye(len(tokens))


@pytest.mark.parametrize(("family", "overrides", "size", "layer", "shape", "extra", "how"), LAYERS)
def test_where_tokens_look_and_how_far(family, overrides, size, layer, shape, extra, how):
    model, pixel_values = random_model(family, **overrides), images(family, size)
    mixing = find_mixing(model)
    (captured,), _ = capture_attention(model, pixel_values, mixing.layers(model), layers=[layer])
    captured = mixing.standard(captured).double().numpy()
    captured = captured.reshape(2, -1, *captured.shape[1:])
    found = attention_distance(model, pixel_values, [layer])[0]
    middles = [((np.arange(tokens) + 0.5) * pixels / tokens) for tokens, pixels in zip(shape, size, strict=True)]
    places = np.array(list(itertools.product(*middles)))  # (tokens, 2) in pixels
    far = []
    for image in range(2):
        attention, keys = written_out(captured[image], shape, extra, how)
        looks = attention @ keys  # (heads, [class tokens and] tokens, the same)
        for query in [(0, 0), (shape[0] - 1, 1), (shape[0] // 2, shape[1] - 1), *(["class"] if extra else [])]:
            row = 0 if query == "class" else extra + query[0] * shape[1] + query[1]
            for head in (0, -1, None):
                expected = looks[:, row].mean(0) if head is None else looks[head, row]
                looked = attention_map(model, pixel_values, layer, query, head)[image]
                expected = torch.from_numpy(expected[extra:].reshape(shape)).float()
                torch.testing.assert_close(looked, expected, rtol=1e-4, atol=1e-6)
        own = attention[:, extra:, extra:] if attention.shape[1] > 1 else attention[:, :, extra:]
        standing = keys[extra:, extra:] @ places
        away = np.linalg.norm(places[:, None] - standing[None], axis=-1)
        far.append(((own * away).sum(-1) / own.sum(-1)).mean(-1))
    torch.testing.assert_close(found, torch.from_numpy(np.mean(far, 0)).float(), rtol=1e-4, atol=1e-4)
    assert len(found) == captured.shape[2] and float(found.min()) > 0
