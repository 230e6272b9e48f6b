# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""OpenVINO's core: one for the whole process."""

import functools
from typing import Any


@functools.cache
def openvino_core() -> Any:
    """The `openvino.Core` that everything here shares, kept until the process ends.

    The CPU plugin of a core lets signals be handled on a stack of its own, and brings back the one before it when it
    goes. Of two plugins that go in the order in which they came, the second brings back the stack of the first, whose
    memory is gone: the next signal then ends the process without a word, for example when a data loader's worker ends
    (seen with OpenVINO 2026.4). A core that never goes has none of this.
    """
    import openvino

    return openvino.Core()
