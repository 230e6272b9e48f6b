# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Numbers of the teaching page: formulas by hand and against counts, the table, time and memory."""

import csv
import io

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hf_vit_family import HfvfTwinsConfig, model_info
from hf_vit_family.families import FAMILIES
from hf_vit_family.families.registry import CHECKPOINTS, VARIANTS
from hf_vit_family.models.modeling_twins import HfvfTwinsGlobalAttention, HfvfTwinsLocalAttention
from hf_vit_family.spaces.architectures import counting
from hf_vit_family.spaces.architectures.counting import (
    SIZES,
    SWEPT,
    count,
    count_parameters,
    counted,
    measure,
    multiply_adds,
    peak_bytes,
)
from hf_vit_family.spaces.architectures.table_section import HEADINGS, NOT_PUBLISHED, NOT_STATED, as_csv, table_rows


def test_formulas_by_hand():
    """Swin-T's first stage at 224 pixels: 56 x 56 tokens of 96 channels, windows of 7."""
    projections = 4 * 3136 * 96 * 96
    assert projections == 115_605_504
    assert counting.global_attention(56, 56, 96) == projections + 2 * 3136 * 3136 * 96 == 2_003_828_736
    assert counting.window_attention(56, 56, 96, 7) == projections + 2 * 49 * 3136 * 96 == 145_108_992
    # PVT: 49 keys; queries and output at 3136 tokens, keys and values at 49, a convolution of 8 x 8
    reduced = 2 * 3136 * 96 * 96 + 2 * 49 * 96 * 96 + 49 * 64 * 96 * 96 + 2 * 3136 * 49 * 96
    assert counting.reduced_attention(56, 56, 96, 8) == reduced == 117_110_784
    # a window as large as the map is global, and so are keys that are not reduced
    assert counting.window_attention(7, 7, 64, 7) == counting.global_attention(7, 7, 64)
    assert counting.reduced_attention(7, 7, 64, 1) == counting.global_attention(7, 7, 64)


@pytest.mark.parametrize(("size", "stage"), [((28, 28), 0), ((14, 28), 1)])
def test_formulas_are_what_the_real_layers_count(size, stage):
    config = HfvfTwinsConfig(
        hidden_sizes=(64, 32), num_attention_heads=(2, 4), depths=(2, 2), window_sizes=(7, 7), key_reductions=(1, 2),
        mlp_ratios=(4, 4), attn_implementation="eager",
    )  # fmt: skip
    channels, reduction = config.hidden_sizes[stage], config.key_reductions[stage]
    with torch.device("meta"):
        local, all_over = HfvfTwinsLocalAttention(config, stage), HfvfTwinsGlobalAttention(config, stage)
        tokens = torch.empty(1, *size, channels)
    assert counted_flops(local, tokens) == counting.window_attention(*size, channels, 7)
    assert counted_flops(all_over, tokens) == counting.reduced_attention(*size, channels, reduction)


def counted_flops(module, tokens):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(tokens)
    return counter.get_total_flops() // 2


def test_memory_of_attention_by_hand():
    """224 pixels: 224^4 pairs of pixels, 196^2 of patches of 16, 196 times 49 in windows of 7."""
    entries = counting.attention_entries(224, 16, 7)
    assert (entries.pixels, entries.patches, entries.windows) == (2_517_630_976, 38_416, 9_604)
    assert counting.attention_bytes(entries.pixels, 12, "float32") == 120_846_286_848
    assert counting.attention_bytes(entries.patches, 12, "bfloat16") == 921_984
    small = counting.attention_entries(64, 16, 7)  # four by four patches are less than a window
    assert small.windows == small.patches == 256
    with pytest.raises(ValueError, match="int8"):
        counting.attention_bytes(1, 1, "int8")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (0, "0 B"),
        (768, "768 B"),
        (999.6, "1 kB"),
        (1_843_968, "1.84 MB"),
        (120_846_286_848, "121 GB"),
        (8e17, "800 PB"),
    ],
)
def test_bytes_are_readable(given, written):
    assert counting.readable_bytes(given) == written


def test_counts_are_readable():
    assert counting.readable_count(1_812_267_008) == "1.81 G"
    assert counting.readable_count(512) == "512"


def test_everything_is_counted():
    """`python scripts/count_architectures.py` writes what is missing."""
    assert set(counted()["variants"]) == set(VARIANTS)
    assert set(counted()["sizes"]) == set(SWEPT) and {VARIANTS[name].family for name in SWEPT} == set(FAMILIES)
    for name in SWEPT:
        at_sizes = counted()["sizes"][name]
        assert set(at_sizes) == {str(side) for side in SIZES}
        assert all(value for value in at_sizes.values())


@pytest.mark.parametrize("name", ["poolformer_s12", "mobilevit-xx-small", "swin-tiny-patch4-window7-224", "pvt_v2_b0"])
def test_stored_counts_are_those_of_a_fresh_count(name):
    stored = counted()["variants"][name]
    info = model_info(name)
    assert stored == {"parameters": info.parameters, "multiply_adds": count(name, info.input_size)}
    assert stored["parameters"] == count_parameters(name) and stored["multiply_adds"] == multiply_adds(name)


def test_stored_counts_at_other_sizes():
    assert counted()["sizes"]["vit-small-patch16-224"]["384"] == count("vit-small-patch16-224", (384, 384))
    assert counted()["sizes"]["twins_svt_small"]["320"] == count("twins_svt_small", (320, 320))


def test_what_cannot_be_counted_is_told():
    assert count("swin-tiny-patch4-window7-224", (32, 32)) is None  # smaller than its windows
    with pytest.raises(ValueError, match="Unknown"):
        multiply_adds("swin-enormous")


def test_table_has_every_variant_and_checkpoint():
    rows = table_rows()
    assert {row.variant for row in rows} == set(VARIANTS)
    assert {row.checkpoint for row in rows} - {None} == set(CHECKPOINTS)
    for row in rows:
        assert (row.top1 is None) == (row.source is None)
        if row.checkpoint is not None:
            _, checkpoint = CHECKPOINTS[row.checkpoint]
            assert (row.top1, row.source, row.license) == (checkpoint.top1, checkpoint.top1_source, checkpoint.license)
        assert row.paper
    assert {row.family for row in table_rows(["pvt"])} == {"PVT"}


def test_table_as_csv():
    rows = table_rows(["cvt", "poolformer"])
    read = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert len(read) == len(rows) and list(read[0]) == list(HEADINGS.values())
    for line, row in zip(read, rows, strict=True):
        assert line["Top-1 (%)"] == (NOT_PUBLISHED if row.top1 is None else str(row.top1))
        assert line["Licence of the weights"] == (row.license or NOT_STATED)
        assert int(line["Parameters"]) == row.parameters


class Steps(torch.nn.Module):
    """Holds four images, then eight, then four."""

    def forward(self, pixel_values):
        first = pixel_values.repeat(4, 1, 1, 1)
        second = first + 1
        del first
        return second * 2


def test_peak_memory_by_hand():
    image = torch.zeros(1, 3, 100, 100)
    assert peak_bytes(Steps(), image) == pytest.approx(8 * image.nbytes, rel=0.01)


def test_measuring_a_real_model():
    name, threads = "mobilevitv2-0.5-imagenet1k-256", torch.get_num_threads()
    measured = measure(name, 128)
    assert (measured.name, measured.side, measured.threads) == (name, 128, threads)
    assert 0 < measured.fastest <= measured.seconds <= measured.slowest
    assert measured.peak_bytes > 128 * 128 / 4 * 16 * 4  # the stem's map alone
