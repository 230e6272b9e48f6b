"""PoolFormer, Twins and MaxViT as native models of transformers, beside the vision transformers that it already has.

Importing the package registers its models and their image processor with the Auto classes: from then on a repository
of ours loads with the classes installed here, and its remote code is not run.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _is_command_line() -> bool:
    """Whether this process is `hf-vit-family` itself: its help must not wait for torch and transformers."""
    started = Path(sys.argv[0]).stem if sys.argv else ""
    as_module = started == "-m" and "hf_vit_family.cli" in sys.orig_argv
    return started == "hf-vit-family" or as_module


if TYPE_CHECKING or not _is_command_line():
    from .public import *  # noqa: F403
    from .public import __all__, __version__  # noqa: F401
else:

    def __getattr__(name: str) -> Any:
        """A public name, once a command needs it."""
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        public = importlib.import_module(".public", __name__)  # `from . import` would ask this function for it
        try:
            return getattr(public, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
