# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Calls of the Hub: tried again where that can help, and told in one plain sentence where they fail.

huggingface_hub itself tries again, six times in all and as long as `Retry-After` says, when it asks how to upload and
when it uploads. It does not for the other calls, which go through `call`: what the server refused for the moment (429,
5xx) or never answered is asked again after a wait that doubles, or that the server names.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers

TRIES = 5
FIRST_WAIT = 1.0  # seconds
LONGEST_WAIT = 300.0  # seconds; a server that asks for more is told about instead
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
REFUSED_FOR_NOW = frozenset({429})  # and surely nothing done

Progress = Callable[[str], None]


class Conflict(ValueError):
    """Somebody else has committed in between."""


class Hub:
    """The Hub as one account sees it.

    Args:
        api: the client, with address and token.
        repo_id: what the calls are about, for messages.
        progress: is told of every wait.
    """

    def __init__(self, api: HfApi, repo_id: str, progress: Progress):
        self.api = api
        self.repo_id = repo_id
        self.progress = progress

    def call(
        self,
        function: Callable[..., Any],
        *args: Any,
        retried: frozenset[int] = RETRIED,
        addresses: tuple[str, ...] = ("",),
        **kwargs: Any,
    ) -> Any:
        """Call a function of the client, again if need be.

        Args:
            function: a bound method of `self.api`.
            *args: for the function.
            retried: answers after which it is called again; without 503 no call that got no answer is repeated either.
            addresses: parts of the addresses that huggingface_hub does not ask again by itself; by default all.
            **kwargs: for the function.

        Raises:
            RepositoryNotFoundError, RevisionNotFoundError: as they come, for the caller to decide.
            Conflict: another commit was made in between.
            ValueError: the Hub refuses.
            OSError: the Hub cannot be reached, or goes on failing.
        """
        wait = FIRST_WAIT
        for attempt in range(1, TRIES + 1):
            try:
                return function(*args, **kwargs)
            except (RepositoryNotFoundError, RevisionNotFoundError) as error:
                if error.response.status_code == 401:
                    raise self.sentence(error) from None
                raise
            except OfflineModeIsEnabled:
                raise OSError("huggingface_hub is offline (HF_HUB_OFFLINE is set); publishing needs the Hub.") from None
            except HFValidationError as error:
                raise ValueError(" ".join(str(error).split())) from None
            except (HTTPError, json.JSONDecodeError) as error:
                pause = self._pause(error, wait, retried, addresses)
                if attempt == TRIES or pause is None:
                    raise self.sentence(error) from None
                self.progress(f"{_reason(error)}; trying again in {pause:.0f} s ({attempt} of {TRIES - 1}).")
                time.sleep(pause)
                wait *= 2
        raise AssertionError("unreachable")

    def _pause(
        self, error: Exception, wait: float, retried: frozenset[int], addresses: tuple[str, ...]
    ) -> float | None:
        """Seconds until the next try, None where there is none."""
        if isinstance(error, HTTPError) and not any(part in _address(error) for part in addresses):
            return None
        if not isinstance(error, HfHubHTTPError):
            return wait if 503 in retried else None
        if error.response.status_code not in retried:
            return None
        asked = _asked_wait(error)
        if asked is not None and asked > LONGEST_WAIT:
            return None
        return wait if asked is None else asked

    def sentence(self, error: Exception) -> Exception:
        """What an error of the client means for somebody who publishes."""
        if isinstance(error, json.JSONDecodeError):
            return OSError(f"What answers at {self.api.endpoint} is no Hub, or a broken one: its answer is no JSON.")
        if not isinstance(error, HfHubHTTPError):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return OSError(f"The Hub at {self.api.endpoint} cannot be reached ({type(error).__name__}: {reason}).")
        status = error.response.status_code
        said = f" The Hub says: {error.server_message.splitlines()[0]}" if error.server_message else ""
        if status == 401:
            return ValueError("The Hub does not know the token; log in anew with `hf auth login`.")
        if status == 402:
            return ValueError(
                f"The Hub asks for a paid plan for this (402): {self.repo_id} was not created or changed. A Space of "
                f"Docker or Gradio needs a PRO, Team or Enterprise plan.{said}"
            )
        if status == 403:
            return ValueError(f"The token may not write to {self.repo_id}; expected one that may.{said}")
        if status == 404:
            return ValueError(f"There is no {self.repo_id} on the Hub that the token may see.{said}")
        if status == 412:
            return Conflict(
                f"Somebody else has committed to {self.repo_id} in the meantime and nothing was changed; look at what "
                "they did and publish again."
            )
        if status == 429:
            asked = _asked_wait(error)
            when = f" for {asked:.0f} s" if asked else ""
            return OSError(f"The Hub asks to wait{when} before it takes more requests (429); publish again later.")
        if status in RETRIED:
            return OSError(
                f"The Hub goes on failing ({status}); the same command takes up later where this one stopped.{said}"
            )
        return ValueError(f"The Hub refuses ({status}) for {self.repo_id}.{said}")


def _address(error: HTTPError) -> str:
    """The path that was asked for, empty where it is not known."""
    try:
        request = error.response.request if isinstance(error, HfHubHTTPError) else error.request
        return request.url.path
    except RuntimeError:  # the client's errors have no request before there is one
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"The Hub answers {error.response.status_code}"
    return f"The Hub does not answer ({type(error).__name__})"


def _asked_wait(error: HfHubHTTPError) -> float | None:
    """Seconds that the answer asks to wait, None where it does not say."""
    headers = error.response.headers
    after = headers.get("Retry-After", "")
    if after.isdigit():
        return float(after)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


# Who publishes: the token, and whether it may write.


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
