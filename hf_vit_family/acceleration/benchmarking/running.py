# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The whole benchmark: a plan of rows, checked before anything runs, then contestants timed in turn, row after row."""

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from ...progress import show_progress
from . import contestants, environment, memory
from .contestants import DTYPES, MODES, Chosen, Exports, choose
from .memory import Case, Prepared, difference, prepare
from .results import Entry, Ratio, Results, Row

# Timing contestants in turn, and the ratios that come of it.


LEAST_ROUNDS = 7
MOST_ROUNDS = 1000
MAX_SPREAD = 0.3
WARM_UP = 3


def order(count: int, index: int) -> list[int]:
    """Which contestant runs when in round `index`: rotated by one each round, backwards in every second cycle."""
    begin, backwards = index % count, index // count % 2
    rotated = [(begin + place) % count for place in range(count)]
    return rotated[::-1] if backwards else rotated


def interleave(
    calls: Sequence[Callable[[], None]],
    seconds: float,
    synchronize: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray:
    """Time all contestants in turn.

    Args:
        calls: one a contestant.
        seconds: to spend on timed rounds; at least `LEAST_ROUNDS` are run, however long they take.
        synchronize: waits until a device has finished.
        clock: seconds that have passed.

    Returns:
        Seconds of each call, (rounds, contestants).
    """
    for _ in range(WARM_UP):
        for call in calls:
            call()
    rounds: list[list[float]] = []
    begun = clock()
    while len(rounds) < LEAST_ROUNDS or (clock() - begun < seconds and len(rounds) < MOST_ROUNDS):
        times = [0.0] * len(calls)
        for index in order(len(calls), len(rounds)):
            synchronize()
            start = clock()
            calls[index]()
            synchronize()
            times[index] = clock() - start
        rounds.append(times)
    return np.array(rounds)


def compare(times: np.ndarray, reference: np.ndarray, against: str, max_spread: float = MAX_SPREAD) -> Ratio:
    """How many times as fast as the reference a contestant is, or why that cannot be told.

    Args:
        times, reference: seconds of each round, (rounds,).
        against: the reference's name.
        max_spread: widest range from the tenth to the ninetieth percentile, as a share of the ratio.
    """
    ratios = reference / times
    low, high = (float(value) for value in np.percentile(ratios, (10, 90)))
    value = float(np.median(reference) / np.median(times))
    spread = (high - low) / value
    refused = None
    if len(times) < LEAST_ROUNDS:
        refused = f"{len(times)} rounds; at least {LEAST_ROUNDS} are needed"
    elif spread > max_spread:
        refused = f"the rounds spread over {spread:.0%} of the ratio; at most {max_spread:.0%} is allowed"
    return Ratio(against, None if refused else round(value, 4), round(low, 4), round(high, 4), refused)


DEFAULT_CONTESTANTS = ("native", "optimized")
PASSED = "Shares above 100 % say that the machine was busier when the ceilings were measured than in that row."


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        models: variants, tags, Hub ids or folders.
        contestants: names of `CONTESTANTS`, with `-bf16`, `-fp16` or `-fp32` for a dtype of their own.
        against: contestants that the others are compared with; by default timm where it is installed and has the model,
            otherwise the native model.
        modes: "inference" and "training".
        dtypes: "fp32", "bf16" and "fp16".
        batch_sizes: images a call; training takes the largest.
        image_sizes: heights and widths in pixels; by default each model's own.
        reference_dtype: of the references in every row; by default the row's.
        seconds: to time each row for; `LEAST_ROUNDS` rounds are run however long they take.
        max_spread: widest range from the tenth to the ninetieth percentile of a ratio that is told, as a share of it.
        memory: whether to measure peak memory.
        device: torch device.
        threads: of torch and of the runtimes; torch's own default where None.
    """

    models: Sequence[str]
    contestants: Sequence[str] = DEFAULT_CONTESTANTS
    against: Sequence[str] | None = None
    modes: Sequence[str] = ("inference",)
    dtypes: Sequence[str] = ("fp32",)
    batch_sizes: Sequence[int] = (1, 8)
    image_sizes: Sequence[int] | None = None
    reference_dtype: str | None = None
    seconds: float = 8.0
    max_spread: float = MAX_SPREAD
    memory: bool = True
    device: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True)
class Plan:
    """One row that is to be measured, and who takes part in it."""

    model: str
    image_size: int
    mode: str
    dtype: str
    batch_size: int
    contestants: tuple[Chosen, ...]
    references: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.model} {self.mode} {self.dtype} batch {self.batch_size} {self.image_size} px"


@dataclass
class Subject:
    """A model at a size: what does not change from row to row."""

    name: str
    image_size: int
    native: PreTrainedModel
    multiply_adds: int
    expected: dict[int, torch.Tensor] = field(default_factory=dict)

    def logits(self, case: Case) -> torch.Tensor:
        """Logits of the model itself, eager in fp32 on the CPU, for the images of a case."""
        if case.batch_size not in self.expected:
            # transformers' BEiT keeps an index of its first call: made in inference mode it would let nothing train
            with torch.no_grad():
                self.expected[case.batch_size] = self.native(case.images()).logits
        return self.expected[case.batch_size]


def benchmark(options: Options, command: str = "", store: Callable[[Results], None] = lambda results: None) -> Results:
    """Measure all rows.

    An interruption (Ctrl-C) ends the run: rows that are finished stay, `finished` is False.

    Args:
        options: what to measure.
        command: the command line, for the results.
        store: is given the results after every row.

    Raises:
        ValueError: an unknown model, contestant, mode or dtype, a library that is not installed, a size that a model
            does not take, or a contestant that fits no row. Nothing has been measured then.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    plans = plan(options)
    check_sizes(plans)
    if options.device.startswith("cuda"):
        torch.cuda.set_device(options.device if ":" in options.device else "cuda:0")
    machine = environment.describe(options.device)
    warning = environment.busy(environment.busy_cores(), machine["threads"], machine["cores"])
    results = Results(
        command=command,
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        machine=machine,
        settings={
            "seconds": options.seconds,
            "max_spread": options.max_spread,
            "least_rounds": LEAST_ROUNDS,
            "reference_dtype": options.reference_dtype,
            "device": options.device,
        },
        warnings=(*([] if warning is None else [warning]), *left_out(options)),
    )
    with tempfile.TemporaryDirectory(prefix="hfvf-benchmark-") as folder:
        exports = Exports(Path(folder))
        try:
            results = replace(results, ceilings=environment.measure(options.device))
            with show_progress(plans, unit="row") as progress:
                subject = None
                for row_plan in progress:
                    progress.set_description(str(row_plan))
                    if subject is None or (subject.name, subject.image_size) != (row_plan.model, row_plan.image_size):
                        subject = _subject(row_plan)
                    row = _measure(row_plan, subject, exports, options, progress.set_postfix_str)
                    results = _with_shares(replace(results, rows=(*results.rows, row)))
                    store(results)
            again = environment.highest(results.ceilings, environment.measure(options.device))
            results = _with_shares(replace(results, ceilings=again, finished=True))
            store(results)
        except KeyboardInterrupt:
            return replace(results, warnings=(*results.warnings, "Interrupted: rows of the plan are missing."))
    return results


def plan(options: Options) -> list[Plan]:
    """The rows that options ask for, in the order they are measured in.

    Raises:
        ValueError: as `benchmark`, but for sizes that a model does not take.
    """
    for what, given, known in (
        ("mode", options.modes, MODES),
        ("dtype", options.dtypes, DTYPES),
        ("reference dtype", [options.reference_dtype or "fp32"], DTYPES),
    ):
        for name in given:
            if name not in known:
                raise ValueError(f"Unknown {what} {name!r}; expected one of {', '.join(known)}.")
    for what, numbers in (("batch size", options.batch_sizes), ("image size", options.image_sizes or ())):
        for number in numbers:
            if number < 1:
                raise ValueError(f"A {what} of {number} was given; expected at least 1.")
    _check_device(options.device)
    for label in (*options.contestants, *(options.against or ())):
        reasons = [contestants.lacks(choose(label).contestant.name, name) for name in options.models]
        if reasons and all(reasons):
            raise ValueError(reasons[0])
    plans = [
        Plan(name, size, mode, dtype, batch_size, *_chosen(options, name, mode, dtype))
        for name in options.models
        for size in options.image_sizes or (_own_size(name),)
        for mode in options.modes
        for dtype in options.dtypes
        for batch_size in (options.batch_sizes if mode == "inference" else (max(options.batch_sizes),))
    ]
    plans = [one for one in plans if any(chosen.label not in one.references for chosen in one.contestants)]
    for label in options.contestants:
        if not any(chosen.label == label for one in plans for chosen in one.contestants):
            mode, dtype = options.modes[0], options.dtypes[0]
            reason = choose(label).unfit(mode, dtype, options.device)
            raise ValueError(reason or f"{label} is the reference; expected a contestant to compare with it.")
    return plans


def left_out(options: Options) -> list[str]:
    """Why some models have fewer contestants than others, one sentence each."""
    names = [choose(label).contestant.name for label in options.contestants]
    reasons = [contestants.lacks(contestant, name) for name in options.models for contestant in names]
    return [reason for reason in dict.fromkeys(reasons) if reason is not None]


def check_sizes(plans: Sequence[Plan]) -> None:
    """Refuse sizes that a model does not take, before anything is measured.

    Raises:
        ValueError: the model, the size and why.
    """
    for name, size in dict.fromkeys((one.model, one.image_size) for one in plans):
        contestants.count(contestants.build_native(name, size), name, size)


def _check_device(name: str) -> None:
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise ValueError(f"The device {name!r} does not exist here; expected cpu, cuda or cuda:1.") from None


def _own_size(name: str) -> int:
    size = contestants.own_size(name)
    if size is None:
        raise ValueError(f"No size is known for {name}; expected --image-sizes.")
    return size


def _chosen(options: Options, name: str, mode: str, dtype: str) -> tuple[tuple[Chosen, ...], tuple[str, ...]]:
    """Contestants of a row, references last, and the references' labels."""
    own = [choose(label) for label in dict.fromkeys(options.contestants)]
    references = [choose(label) for label in options.against or (contestants.default_reference(name),)]
    if options.reference_dtype is not None:
        references = [
            replace(one, label=f"{one.label}-{options.reference_dtype}", dtype=options.reference_dtype)
            if one.dtype is None and options.reference_dtype != dtype
            else one
            for one in references
        ]
    for one in references:
        reason = one.unfit(mode, dtype, options.device) or contestants.lacks(one.contestant.name, name)
        if reason is not None:
            raise ValueError(f"It cannot be the reference here: {reason}")
    labels = [one.label for one in references]
    fitting = [
        one
        for one in own
        if one.label not in labels
        and one.unfit(mode, dtype, options.device) is None
        and contestants.lacks(one.contestant.name, name) is None
    ]
    return (*fitting, *references), tuple(labels)


def _subject(row_plan: Plan) -> Subject:
    native = contestants.build_native(row_plan.model, row_plan.image_size)
    counted = contestants.count(native, row_plan.model, row_plan.image_size)
    return Subject(row_plan.model, row_plan.image_size, native, counted)


def _measure(
    row_plan: Plan,
    subject: Subject,
    exports: Exports,
    options: Options,
    tell: Callable[[str], None],
) -> Row:
    torch._dynamo.reset()  # or another batch size would be compiled for any batch size
    entries: dict[str, Entry] = {}
    cases: dict[str, Case] = {}
    ready: dict[str, Prepared] = {}
    for chosen in row_plan.contestants:
        tell(f"prepares {chosen.label}")
        dtype = chosen.dtype or row_plan.dtype
        try:
            case = _case(row_plan, chosen, dtype, subject, exports, options.device)
            prepared = prepare(case, subject.native)
            entries[chosen.label] = Entry(
                chosen.label,
                dtype,
                difference=difference(prepared, subject.logits(case)),
                shared_weights=prepared.shared_weights,
                parameters=prepared.parameters,
            )
            cases[chosen.label], ready[chosen.label] = case, prepared
        except Exception as error:  # whatever another library raises: the others are measured all the same
            entries[chosen.label] = Entry(chosen.label, dtype, failed=_line(error))
    if ready:
        tell("times")
        wait = torch.cuda.synchronize if options.device.startswith("cuda") else lambda: None
        times = dict(zip(ready, interleave([one.call for one in ready.values()], options.seconds, wait).T, strict=True))
        for label, column in times.items():
            entries[label] = _timed(entries[label], column, row_plan.batch_size)
        for label, entry in entries.items():
            entries[label] = replace(entry, ratios=_ratios(label, times, row_plan.references, options.max_spread))
    for label, peak, note in _peaks(cases, ready, options, tell):
        entries[label] = replace(
            entries[label], peak_memory_mb=peak, notes=(*entries[label].notes, *([note] if note else []))
        )
    published = contestants.accuracy(row_plan.model, row_plan.image_size)
    return Row(
        model=row_plan.model,
        family=contestants.family_name(subject.native),
        mode=row_plan.mode,
        dtype=row_plan.dtype,
        batch_size=row_plan.batch_size,
        image_size=row_plan.image_size,
        parameters=sum(parameter.numel() for parameter in subject.native.parameters()),
        multiply_adds=subject.multiply_adds,
        top1=published[0] if published else None,
        top1_source=published[1] if published else None,
        entries=tuple(entries.values()),
    )


def _case(row_plan: Plan, chosen: Chosen, dtype: str, subject: Subject, exports: Exports, device: str) -> Case:
    format = chosen.contestant.export
    folder = exports.find(row_plan.model, subject.native, row_plan.image_size, format) if format else None
    return Case(
        row_plan.model,
        chosen.contestant.name,
        row_plan.mode,
        dtype,
        row_plan.batch_size,
        row_plan.image_size,
        device,
        torch.get_num_threads(),
        folder,
    )


def _timed(entry: Entry, times: np.ndarray, batch_size: int) -> Entry:
    low, middle, high = (float(value) for value in np.percentile(times, (10, 50, 90)))
    return replace(
        entry,
        milliseconds=round(middle * 1e3, 4),
        milliseconds_low=round(low * 1e3, 4),
        milliseconds_high=round(high * 1e3, 4),
        images_per_second=round(batch_size / middle, 2),
        rounds=len(times),
    )


def _with_shares(results: Results) -> Results:
    """The same results with each entry's share of the ceilings, and a warning where one is passed."""
    rows = []
    for row in results.rows:
        entries = []
        for entry in row.entries:
            found = None
            if entry.milliseconds is not None:
                found = environment.share(
                    results.ceilings,
                    entry.milliseconds / 1e3,
                    entry.dtype,
                    row.mode,
                    row.multiply_adds,
                    row.batch_size,
                    row.parameters,
                    3 * row.image_size**2,
                )
            share, ceiling = (None, None) if found is None else (round(found[0], 4), found[1])
            entries.append(replace(entry, share_of_ceiling=share, ceiling=ceiling))
        rows.append(replace(row, entries=tuple(entries)))
    passed = any((entry.share_of_ceiling or 0) > 1 for row in rows for entry in row.entries)
    warnings = [warning for warning in results.warnings if warning != PASSED] + ([PASSED] if passed else [])
    return replace(results, rows=tuple(rows), warnings=tuple(warnings))


def _ratios(
    label: str, times: dict[str, np.ndarray], references: Sequence[str], max_spread: float
) -> tuple[Ratio, ...]:
    ratios = []
    for reference in references:
        missing = [one for one in (label, reference) if one not in times]
        if missing:
            ratios.append(Ratio(reference, None, None, None, f"{missing[0]} could not be measured"))
        elif label != reference:
            ratios.append(compare(times[label], times[reference], reference, max_spread))
    return tuple(ratios)


def _peaks(
    cases: dict[str, Case], ready: dict[str, Prepared], options: Options, tell: Callable[[str], None]
) -> Iterator[tuple[str, float | None, str | None]]:
    """Label, peak memory and what went wrong. `ready` is emptied on a CPU: another process holds the models now."""
    if not options.memory or not memory.measurable(options.device):
        return
    on_cuda = options.device.startswith("cuda")
    if not on_cuda:
        ready.clear()
        gc.collect()
    for label, case in cases.items():
        tell(f"measures memory of {label}")
        try:
            peak = memory.peak_on_cuda(ready[label]) if on_cuda else memory.peak_in_own_process(case)
            yield label, round(peak, 1), None
        except (ValueError, RuntimeError, OSError) as error:
            yield label, None, f"No peak memory: {_line(error)}"


def _line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
