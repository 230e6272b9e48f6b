"""Settings of every test run, how the tests are shared between processes, and what they cost."""

import os
import re
import sys
from collections import Counter

import pytest

# No test may depend on a network: one that talks to a server of its own sets these again for its subprocess.
# Set before anything imports huggingface_hub, which reads them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# With one worker a core, more threads would only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# test files import functions of this plugin before pytest loads it
pytest.register_assert_rewrite("browser")

# files that are shared by family: the name of each family's test begins with it
BY_FAMILY = ("tests/test_contract.py", "tests/test_half_precision.py")
COLLECTION = "importing and collecting"


def scope(nodeid: str) -> str:
    """What one process runs together: a file, a family of one, a class of transformers' common suite."""
    file, name = nodeid.split("::", 1)
    if file in BY_FAMILY and (family := re.search(r"\[([a-z]\w*)", name)):
        return f"{file}[{family[1]}]"
    if file == "tests/common_suite/test_common.py":
        return f"{file}::{name.split('::')[0]}"
    return file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    if config.getvalue("dist") != "loadfile":
        return None
    # an own class, as `--dist loadgroup` would write the group into the name of every test
    from xdist.scheduler import LoadFileScheduling

    class LoadFamilyScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    return LoadFamilyScheduling(config, log)


def pytest_addoption(parser):
    parser.addoption(
        "--cpu-seconds",
        action="store_true",
        help="tell the CPU seconds of each file, and of each family of the contract",
    )


def pytest_configure(config):
    if config.getoption("--cpu-seconds"):
        config.pluginmanager.register(CpuSeconds(config), "cpu_seconds")


class CpuSeconds:
    """CPU seconds of this process and of those that it started and waited for, by scope."""

    def __init__(self, config):
        self.config = config
        self.seconds = Counter()
        self.tests = Counter()

    @staticmethod
    def now() -> float:
        return sum(os.times()[:4])

    def pytest_collection_finish(self):
        self.seconds[COLLECTION] += self.now()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        before = self.now()
        try:
            return (yield)
        finally:
            self.tests[item.nodeid] = self.now() - before
            self.seconds[scope(item.nodeid)] += self.tests[item.nodeid]

    def pytest_sessionfinish(self):
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["cpu_seconds"] = [dict(self.seconds), dict(self.tests)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        seconds, tests = node.workeroutput.get("cpu_seconds", ({}, {}))
        self.seconds.update(seconds)
        self.tests.update(tests)

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("CPU seconds")
        for name, seconds in self.seconds.most_common():
            terminalreporter.write_line(f"{seconds:8.1f}  {name}")
        terminalreporter.write_line(f"{self.seconds.total():8.1f}  together; the dearest tests:")
        for name, seconds in self.tests.most_common(15):
            terminalreporter.write_line(f"{seconds:8.1f}  {name}")


@pytest.fixture(autouse=True)
def fresh_beit_index():
    """Forget the position index that transformers' BEiT keeps for all models of the process.

    One that was made in inference mode would let no gradient pass in whatever test comes next.
    """
    yield
    beit = sys.modules.get("transformers.models.beit.modeling_beit")
    if beit is not None:
        function = beit.BeitRelativePositionBias.generate_relative_position_index
        for cell in function.__closure__ or ():
            if hasattr(cell.cell_contents, "cache_clear"):
                cell.cell_contents.cache_clear()
