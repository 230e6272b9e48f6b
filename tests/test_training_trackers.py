# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What --trackers writes beside log.jsonl."""

import pytest
from training_data import own_caches, write_images  # noqa: F401 - own_caches is a fixture
from training_runs import log_of, options, run


def test_tensorboard_gets_every_figure_of_the_log(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = tmp_path / "run"
    assert run(options(write_images(tmp_path / "photos", 6), output, "--trackers", "tensorboard")) == 0
    events = EventAccumulator(str(next((output / "trackers").rglob("events.*")).parent)).Reload()
    for name in ("loss", "learning_rate", "accuracy"):
        written = [(event.step, event.value) for event in events.Scalars(name)]
        logged = [(line["step"], line[name]) for line in log_of(output) if name in line]
        assert logged and written == [(step, pytest.approx(value, rel=1e-6)) for step, value in logged]
