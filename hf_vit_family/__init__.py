"""PoolFormer, Twins and MaxViT as native models of transformers, beside the vision transformers that it already has.

Importing the package registers its models and their image processor with the Auto classes: from then on a repository
of ours loads with the classes installed here, and its remote code is not run.

Two programs of our own, the command line and a Space's page, cannot wait for torch and transformers before they show
text. In them (the page says so with `HFVF_LAZY_IMPORT=1`) the same happens when the first public name is used.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .programs import is_own_program, wait_without_spinning

if is_own_program():
    wait_without_spinning()


def _is_command_line() -> bool:
    """Whether this process is `hf-vit-family` itself: its help must not wait for torch and transformers."""
    started = Path(sys.argv[0]).stem if sys.argv else ""
    as_module = started == "-m" and "hf_vit_family.cli" in sys.orig_argv
    return started == "hf-vit-family" or as_module


def _is_lazy() -> bool:
    return os.environ.get("HFVF_LAZY_IMPORT") == "1" or _is_command_line()


if TYPE_CHECKING or not _is_lazy():
    from .public import *  # noqa: F403
    from .public import __all__, __version__  # noqa: F401
else:

    def __getattr__(name: str) -> Any:
        """A public name, once it is needed."""
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        public = importlib.import_module(".public", __name__)  # `from . import` would ask this function for it
        try:
            return getattr(public, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
