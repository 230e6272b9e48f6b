# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Change the package in thirty places, one after the other, and see whether the tests notice.

python scripts/mutate.py
python scripts/mutate.py --list
python scripts/mutate.py --only names rounding

The places were drawn with `random.Random(2026)` from all comparisons, `and`/`or`, `not` and `+ 1`/`- 1` whose line is
the only one of its kind, shuffled folder by folder; the first of each folder that change what a user sees were taken. A
line is looked for wherever it is now, so that files may be merged and moved. Each change is made in a copy of the
checkout and run against the few test files that should fail.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """A line that is changed.

    Attributes:
        name: for `--only`.
        line: the line, without the space in front of it.
        old, new: what is replaced in it, once.
        tests: arguments of pytest.
    """

    name: str
    line: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    Mutation("grey", "if image.shape[0] == 1:", "==", "!=", "test_image_processing.py"),
    Mutation("bytes", "if values.dtype == torch.uint8:", "==", "!=", "test_image_processing.py"),
    Mutation(
        "places",
        "places = row_places[:, None, :, None] * (2 * width - 1) + column_places[None, :, None, :]",
        "width - 1",
        "width - 2",
        "test_maxvit.py",
    ),
    Mutation(
        "embedding",
        "channels, size = (config.num_channels, config.patch_size) if stage == 0 else (config.hidden_sizes[stage - 1], 2)",  # noqa: E501
        "==",
        "!=",
        "test_twins.py",
    ),
    Mutation(
        "star_relu",
        'self.activation = HfvfPoolFormerStarReLU() if config.hidden_act == "star_relu" else ACT2FN[config.hidden_act]',
        "==",
        "!=",
        "test_conversion.py",
    ),
    Mutation(
        "labels",
        "if count is not None and names is not None and len(names) != count:",
        "!=",
        "==",
        "test_zoo.py -k label",
    ),
    Mutation(
        "downsample",
        'embedding = "model.stem" if stage == 0 else f"{target}.downsample"',
        "==",
        "!=",
        "test_conversion.py",
    ),
    Mutation(
        "features",
        'if not hasattr(module, "get_classifier") and hasattr(module, "feature_info"):',
        "and hasattr",
        "or hasattr",
        "test_conversion.py",
    ),
    Mutation("new_head", "if config.num_labels != model.config.num_labels:", "!=", "==", "test_conversion.py"),
    Mutation("card_data", 'data = metrics.get("data") or {}', " or ", " and ", "test_cards.py"),
    Mutation(
        "same_files",
        "unchanged = [path for path, addition in here.items() if path in there and _is_same(addition, there[path])]",
        "and _is_same",
        "or _is_same",
        "test_publish.py",
    ),
    Mutation(
        "safetensors",
        'if not any(file.kind == "safetensors" for file in report.weights):',
        "==",
        "!=",
        "test_verify.py",
    ),
    Mutation(
        "card_sizes",
        "if not all(isinstance(length, int) and length > 0 for length in sizes):",
        "not all",
        "all",
        "test_cards.py",
    ),
    Mutation(
        "inner_folder",
        "return inner if not (folder / CONFIG_NAME).exists() and (inner / CONFIG_NAME).is_file() else folder",
        "if not",
        "if",
        "test_cards.py",
    ),
    Mutation(
        "card_text",
        'if isinstance(card, str) and "\\n" in card:',
        " and ",
        " or ",
        "test_export_folder.py test_cards.py",
    ),
    Mutation(
        "teacher",
        'if self.method.distillation not in (None, "none") and self.method.teacher is None:',
        "and self",
        "or self",
        "test_training_bad_input.py test_training_methods.py",
    ),
    Mutation("recipe", "if not isinstance(values, dict):", "if not", "if", "test_training.py -k recipe"),
    Mutation(
        "several_labels",
        "columns = labels.T > 0 if labels.ndim == 2 else labels == np.unique(labels)[:, None]",
        "> 0",
        ">= 0",
        "test_training_sampling.py test_training_data.py",
    ),
    Mutation("lonely_class", "single = np.flatnonzero(counts == 1)", "==", "!=", "test_training_data.py"),
    Mutation(
        "held_out",
        "return min(max(round(count * fraction), 1), count - 1)",
        "count - 1",
        "count - 2",
        "test_training_data.py",
    ),
    Mutation("one_label", "if not self.multi_label:", "if not", "if", "test_training_data.py"),
    Mutation("colours", "if pixel_values.shape[1] != 3:", "!=", "==", "test_inspection_probes.py"),
    Mutation(
        "biases",
        "height, width = (2 * side - 1 for side in module.window_size)",
        "side - 1",
        "side - 2",
        "test_inspection_views.py",
    ),
    Mutation(
        "whole",
        "return isinstance(value, Integral) and not isinstance(value, bool)",
        "and not",
        "or not",
        "test_inspection_views.py test_inspection_raw.py",
    ),
    Mutation(
        "salient",
        'ranked = rank_patches(maps if order == "salient" else -maps, grid, ranked)',
        "==",
        "!=",
        "test_inspection_probes.py",
    ),
    Mutation(
        "allocator",
        'value if name == "libc" else f"{name}={value}" for name, value in machine["allocator"].items()',
        "==",
        "!=",
        "test_benchmark.py",
    ),
    Mutation(
        "parity", "if strict and parity.relative > TOLERANCES[dtype]:", "strict and", "strict or", "test_deployment.py"
    ),
    Mutation("resized", "if not processor.do_resize:", "if not", "if", "test_space_answers.py"),
    Mutation(
        "agreement", 'whom = "both" if models == 2 else f"all {_NUMBERS[models]}"', "==", "!=", "test_space_answers.py"
    ),
    Mutation("missing", "if missing and not headless:", "and not", "or not", "test_loading.py"),
)


def find(mutation: Mutation, root: Path) -> Path:
    """The file of the package that has the line.

    Raises:
        ValueError: not exactly one has it, once.
    """
    found = []
    for path in sorted((root / "hf_vit_family").rglob("*.py")):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        found += [path] * lines.count(mutation.line)
    if len(found) != 1 or mutation.line.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: its line stands in {len(found)} places; expected one.")
    return found[0]


def run_tests(copy: Path, tests: list[str]) -> subprocess.CompletedProcess:
    """Run tests of a copy of the checkout, with the package that is in it."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        # in front of an editable install of the checkout itself
        env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def arguments_of(mutation: Mutation) -> list[str]:
    """Its tests, as pytest takes them."""
    return [f"tests/{part}" if part.endswith(".py") else part for part in mutation.tests.split()]


def try_out(mutation: Mutation, copy: Path) -> bool:
    """Whether the tests fail with the change in a copy of the checkout, which is as before afterwards."""
    path = find(mutation, copy)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutation.line, mutation.line.replace(mutation.old, mutation.new)), encoding="utf-8")
    try:
        done = run_tests(copy, arguments_of(mutation))
    finally:
        path.write_text(text, encoding="utf-8")
    if done.returncode not in (0, 1, 2):  # 2: a module could not be imported
        raise RuntimeError(
            f"{mutation.name}: pytest ended with {done.returncode}.\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.returncode != 0


def main() -> int:
    """The exit status: 1 where a change was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--list", action="store_true", help="show the changes, and make none")
    parser.add_argument(
        "--unchanged", action="store_true", help="run the tests on the code as it is: they have to pass"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout (this one by default)")
    options = parser.parse_args()
    names = [mutation.name for mutation in MUTATIONS]
    for name in options.only or ():
        if name not in names:
            parser.error(f"there is no change {name!r}; expected one of {', '.join(names)}")
    chosen = [mutation for mutation in MUTATIONS if options.only is None or mutation.name in options.only]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "runs", "screenshots")
        if not options.list:
            shutil.copytree(options.root, copy, ignore=ignored)
        if options.unchanged:
            files = {part for mutation in chosen for part in arguments_of(mutation) if part.endswith(".py")}
            done = run_tests(copy, sorted(files))
            print(done.stdout[-2000:])
            return done.returncode
        for mutation in chosen:
            where = find(mutation, options.root).relative_to(options.root / "hf_vit_family")
            if options.list:
                print(f"{mutation.name:15} {where}: {mutation.old} -> {mutation.new} in {mutation.line}")
                continue
            started = time.perf_counter()
            killed = try_out(mutation, copy)
            survived += not killed
            seconds = time.perf_counter() - started
            print(f"{mutation.name:15} {'killed' if killed else 'SURVIVED':9} {seconds:5.0f} s  {where}", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
