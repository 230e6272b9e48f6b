# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""How torch's threads wait for each other in our own programs; a library that is imported leaves it to its user."""

import os
import sys
from pathlib import Path

# what a user says about it: OpenMP's own variable, and those of the GNU and the Intel and LLVM runtimes
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_ROOT = Path(__file__).resolve().parents[1]


def is_own_program() -> bool:
    """Whether this process is `hf-vit-family`, a module of the package run by `-m`, a Space or a script of a checkout.

    It is asked before torch is imported, which `import hf_vit_family` does.
    """
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # runpy puts the module's path there later
        return any(word.partition(".")[0] == "hf_vit_family" for word in sys.orig_argv)
    if Path(started).stem == "hf-vit-family" or os.environ.get("HFVF_LAZY_IMPORT") == "1":
        return True
    return bool(started) and Path(started).resolve().parent == _ROOT / "scripts"


def wait_without_spinning() -> None:
    """Let threads that wait for others sleep, unless the user has chosen.

    By default they spin for some milliseconds, and where another process wants the core they take it from the thread
    that they wait for. The runtime reads the variable when torch is imported; processes that are started inherit it.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in SETTINGS):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
