# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The order of an epoch's images, in one process and several, and the weights of classes."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator, DataLoaderConfiguration, skip_first_batches
from accelerate.data_loader import prepare_data_loader
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import DataLoader, TensorDataset

from hf_vit_family.training.data.sampling import EpochSampler, class_weights

LABELS = np.array([0] * 30 + [1] * 6 + [2] * 4)


def order(sampler, epoch):
    sampler.set_epoch(epoch)
    return np.array(list(sampler))


class TestEpochSampler:
    def test_every_image_comes_once_in_an_order_of_seed_and_epoch(self):
        first = order(EpochSampler(LABELS, seed=1), 3)
        assert sorted(first) == list(range(40))
        assert (order(EpochSampler(LABELS, seed=1), 3) == first).all()
        for other in (order(EpochSampler(LABELS, seed=1), 4), order(EpochSampler(LABELS, seed=2), 3)):
            assert sorted(other) == list(range(40)) and (other != first).any()

    @pytest.mark.parametrize("repeats", [2, 3])
    def test_copies_of_an_image_follow_one_another_and_are_counted(self, repeats):
        sampler = EpochSampler(LABELS, seed=0, repeats=repeats)
        places = order(sampler, 0)
        rows, copies = places % 40, places // 40
        assert len(places) == len(sampler) == 40 and len(set(rows)) == -(-40 // repeats)
        assert (rows == np.repeat(rows[::repeats], repeats)[:40]).all()
        assert (copies == np.tile(np.arange(repeats), 40)[:40]).all()
        assert len({row for epoch in range(30) for row in order(sampler, epoch) % 40}) == 40

    def test_balanced_drawing_gives_every_class_its_share(self):
        places = order(EpochSampler(LABELS, seed=0, balanced=True), 5)
        rows = places % 40
        assert sorted(np.bincount(LABELS[rows])) == [13, 13, 14]
        times = np.bincount(rows, minlength=40)
        assert times[:30].max() == 1 and set(times[30:36]) <= {2, 3} and set(times[36:]) <= {3, 4}
        assert len(set(places)) == 40, "each copy has a place of its own"
        changes = (LABELS[rows][1:] != LABELS[rows][:-1]).sum()
        assert changes > 15, "the classes are mixed"

    def test_balanced_drawing_of_images_with_several_classes(self):
        labels = np.zeros((20, 3), dtype=np.float32)
        labels[:15, 0] = labels[14:17, 1] = labels[17, 2] = 1  # two images have no class, one has two
        rows = order(EpochSampler(labels, seed=0, balanced=True), 0) % 20
        assert len(rows) == 20 and not {18, 19} & set(rows) and (rows == 17).sum() in (6, 7)

    @pytest.mark.parametrize("processes", [1, 2])
    def test_accelerate_splits_batches_and_forwards_the_epoch(self, processes):
        """As the job prepares it: all processes together have the order of one, also from the middle of an epoch."""
        parts = []
        for process in range(processes):
            data = TensorDataset(torch.arange(40))
            loader = DataLoader(data, batch_size=10, sampler=EpochSampler(LABELS, seed=0), drop_last=True)
            loader = prepare_data_loader(
                loader,
                num_processes=processes,
                process_index=process,
                split_batches=True,
                put_on_device=False,
                dispatch_batches=False,
                use_seedable_sampler=True,
                data_seed=0,
            )
            loader.set_epoch(2)
            whole = [batch[0] for batch in loader]
            loader.set_epoch(2)
            rest = skip_first_batches(loader, 3)
            rest.set_epoch(2)
            assert [batch[0].tolist() for batch in rest] == [whole[3].tolist()]
            parts.append(whole)
        expected = torch.from_numpy(order(EpochSampler(LABELS, seed=0), 2)).split(10)
        for batch, shares in zip(expected, zip(*parts, strict=True), strict=True):
            assert torch.cat(shares).tolist() == batch.tolist()

    def test_an_accelerator_keeps_the_sampler(self):
        try:
            accelerator = Accelerator(
                cpu=True,
                dataloader_config=DataLoaderConfiguration(split_batches=True, use_seedable_sampler=True, data_seed=0),
            )
            data = TensorDataset(torch.arange(40))
            loader = accelerator.prepare(
                DataLoader(data, batch_size=8, sampler=EpochSampler(LABELS, 0), drop_last=True)
            )
            for epoch in (0, 1):
                loader.set_epoch(epoch)
                found = torch.cat([batch[0] for batch in loader]).tolist()
                assert found == order(EpochSampler(LABELS, seed=0), epoch).tolist()
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()


class TestClassWeights:
    def test_weights_are_inverse_to_the_counts_with_mean_one_over_the_images(self):
        weights = class_weights(LABELS, 3)
        assert weights.tolist() == pytest.approx([40 / 3 / 30, 40 / 3 / 6, 40 / 3 / 4])
        assert weights[torch.from_numpy(LABELS)].mean() == pytest.approx(1.0)

    def test_weights_of_positive_labels_are_capped(self):
        labels = np.zeros((1000, 3), dtype=np.float32)
        labels[:500, 0] = labels[:250, 1] = labels[0, 2] = 1
        assert class_weights(labels, 3).tolist() == [1.0, 3.0, 100.0]
