# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Metrics, the report of a run, and the report of any checkpoint."""

import evaluate
import numpy as np
import pytest
import torch

from hf_vit_family.training.metrics import Accuracy, ConfusionMatrix, MacroF1, TopKAccuracy


class TestMetrics:
    predictions, references = [0, 1, 1, 2, 2, 2], [0, 1, 2, 2, 2, 0]

    def compute(self, metric, **kwargs):
        return metric(keep_in_memory=True).compute(**kwargs)

    def test_figures_worked_out_by_hand(self):
        given = {"predictions": self.predictions, "references": self.references}
        assert self.compute(Accuracy, **given)["accuracy"] == pytest.approx(4 / 6)
        # F1 of the classes: 2/3, 2/3, 2/3
        assert self.compute(MacroF1, **given)["macro_f1"] == pytest.approx(2 / 3)
        matrix = self.compute(ConfusionMatrix, **given, num_labels=4)["confusion_matrix"]
        assert np.asarray(matrix).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]

    def test_top_k_with_ties_and_more_places_than_classes(self):
        scores = [[0.1, 0.7, 0.2], [0.5, 0.5, 0.5], [0.9, 0.05, 0.05]]
        given = {"predictions": scores, "references": [2, 2, 0]}
        assert self.compute(TopKAccuracy, **given, k=1) == {"top1_accuracy": pytest.approx(1 / 3)}
        assert self.compute(TopKAccuracy, **given, k=2) == {"top2_accuracy": pytest.approx(2 / 3)}
        assert self.compute(TopKAccuracy, **given, k=5) == {"top5_accuracy": 1.0}

    def test_batches_and_combination_work_as_with_any_module_of_evaluate(self, tmp_path):
        metric = Accuracy(cache_dir=str(tmp_path))
        metric.add_batch(predictions=[0, 1], references=[0, 0])
        metric.add_batch(predictions=torch.tensor([2, 2]), references=torch.tensor([2, 2]))
        assert metric.compute() == {"accuracy": 0.75}
        combined = evaluate.combine([Accuracy(cache_dir=str(tmp_path)), MacroF1(cache_dir=str(tmp_path))])
        figures = combined.compute(predictions=self.predictions, references=self.references)
        assert set(figures) == {"accuracy", "macro_f1"}

    def test_a_class_outside_is_named(self):
        with pytest.raises(ValueError, match="predictions has classes 0 to 3; expected 0 to 2"):
            self.compute(ConfusionMatrix, predictions=[0, 3], references=[0, 1], num_labels=3)
