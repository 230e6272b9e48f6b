"""Vision transformers as native models of transformers, beside the ones that it already has.

Importing the package registers its models and their image processor with the Auto classes: from then on a repository
of ours loads with the classes installed here, and its remote code is not run. A public name is imported when it is
first used, so that only who looks inside a model waits for `hf_vit_family.inspection`; `import *` uses all of them.

A program of ours cannot wait for torch and transformers before it shows text. It sets `HFVF_LAZY_IMPORT=1` before it
imports the package: the same then happens when the first public name is used, and threads that wait sleep. The
variable is taken out of the environment, as processes that are started from there are not this program.
"""

import importlib
import os
from typing import Any

from .models.compat import HFVF_VERSION as __version__
from .programs import wait_without_spinning
from .public import NAMES

__all__ = ["__version__", *NAMES]


def __getattr__(name: str) -> Any:
    """A public name, once it is needed."""
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    importlib.import_module(".registration", __name__)
    value = globals()[name] = getattr(importlib.import_module(NAMES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES})


if os.environ.pop("HFVF_LAZY_IMPORT", None) == "1":
    wait_without_spinning()
else:
    importlib.import_module(".registration", __name__)
