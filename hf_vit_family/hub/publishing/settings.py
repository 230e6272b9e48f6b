# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Who sees a repository, and who has to ask."""

from dataclasses import replace
from typing import Any

from .calls import Hub
from .result import Published


def change_settings(hub: Hub, result: Published, info: Any, public: bool, gated: str | None) -> Published:
    """Open a private repository, and gate it, where it is not so already.

    Args:
        hub: the Hub.
        result: what was done so far.
        info: the repository as the Hub describes it.
        public: whether it is to be public; False leaves it as it is.
        gated: "auto", "manual", or None to leave it as it is.
    """
    wanted: dict[str, Any] = {}
    settings = list(result.settings)
    if gated is not None and info.gated != gated:
        wanted["gated"] = gated
        settings.append(f"gated ({gated})")
    if public and info.private:
        wanted["private"] = False
        settings.append("made public")
    if wanted:
        hub.progress(f"Settings: {', '.join(settings)}.")
        hub.call(hub.api.update_repo_settings, result.repo_id, repo_type=result.repo_type, **wanted)
    return replace(result, private=info.private and not public, settings=tuple(settings))
