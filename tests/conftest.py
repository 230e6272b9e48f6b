"""Settings of every test run."""

import os
import sys

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
