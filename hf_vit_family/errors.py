# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Errors that callers may want to tell apart; every other wrong input is a plain ValueError."""


class HfvfError(ValueError):
    """Base of the package's own errors; its text is one sentence for people."""


class GatedError(HfvfError):
    """The Hub's repository is gated, and this account has not been let in."""


class UnknownNameError(HfvfError):
    """There is no model, repository or revision of that name, or none that this account may see."""


class UnreachableError(HfvfError, OSError):
    """The Hub does not answer or goes on failing, and what was asked for is not in its cache; later it may work."""


class RefusedError(HfvfError):
    """The Hub takes the request and says no."""
