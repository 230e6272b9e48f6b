# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What the machine is called, for every figure that was measured on it."""

import platform
from pathlib import Path


def processor_name() -> str:
    """The processor as the system calls it, with family and model where the name alone says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"
