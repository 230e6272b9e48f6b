# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Who publishes: the token, and whether it may write."""

import re

from huggingface_hub import HfApi, get_token

from .calls import Hub


def writing_token(token: str | None) -> str:
    """The token to publish with.

    Raises:
        ValueError: there is none, or it is none.
    """
    token = get_token() if token is None else token
    if not token:
        raise ValueError("There is no token to publish with; log in with `hf auth login` or set HF_TOKEN.")
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError("The token holds characters that no token has; log in anew with `hf auth login`.")
    return token


def account_name(hub: Hub) -> str:
    """Name of the account that the token belongs to.

    Raises:
        ValueError: the Hub does not know the token, or it may only read.
    """
    account = hub.call(hub.api.whoami)
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise ValueError(
            f"The token of {account['name']} may only read; make one that may write at "
            f"{hub.api.endpoint}/settings/tokens and log in with `hf auth login`."
        )
    return account["name"]


def full_id(repo_id: str, name: str) -> str:
    """The repository's id with its owner, the account itself where none is given."""
    return repo_id if "/" in repo_id else f"{name}/{repo_id}"


def client(token: str, endpoint: str | None) -> HfApi:
    """A client of the Hub that calls itself by this package's name."""
    from ...models.compat import HFVF_VERSION

    return HfApi(endpoint=endpoint, token=token, library_name="hf_vit_family", library_version=HFVF_VERSION)
