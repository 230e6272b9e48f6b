# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Calls of the Hub: made again where that can help, and told in one plain sentence where they fail.

huggingface_hub itself asks again when it asks how to upload and when it uploads. It does not for the other calls; they
are made again after a wait that doubles, or that the server names.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers

from ...errors import HfvfError, RefusedError, UnknownNameError, UnreachableError
from ...models.compat import HFVF_VERSION

TRIES = 5
FIRST_WAIT = 1.0  # seconds
LONGEST_WAIT = 300.0  # seconds; a server that asks for more is told about instead
FAILING = frozenset({408, 500, 502, 503, 504})

Progress = Callable[[str], None]


class ConflictError(RefusedError):
    """Somebody else has committed in between."""


class Hub:
    """The Hub as the account sees it that a token belongs to, and the repository that everything is about.

    Args:
        repo_id: organisation/name, or a name in the account itself.
        token: None for that of `hf auth login` or HF_TOKEN.
        endpoint: address of the Hub; None for HF_ENDPOINT or the public one.
        progress: is told of every wait.

    Raises:
        ValueError: there is no token, it is none, the Hub does not know it, or it may only read.
        UnreachableError: the Hub cannot be reached.
    """

    def __init__(self, repo_id: str, token: str | None, endpoint: str | None, progress: Progress):
        token = get_token() if token is None else token
        if not token:
            raise ValueError("There is no token to publish with; log in with `hf auth login` or set HF_TOKEN.")
        if not re.fullmatch(r"[!-~]+", token):
            raise ValueError("The token holds characters that no token has; log in anew with `hf auth login`.")
        self.api = HfApi(endpoint=endpoint, token=token, library_name="hf_vit_family", library_version=HFVF_VERSION)
        self.repo_id, self.progress = repo_id, progress
        account = self.call(self.api.whoami)
        if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise RefusedError(
                f"The token of {account['name']} may only read; make one that may write at "
                f"{self.api.endpoint}/settings/tokens and log in with `hf auth login`."
            )
        self.repo_id = repo_id if "/" in repo_id else f"{account['name']}/{repo_id}"

    def call(self, function: Callable[..., Any], *args: Any, once: bool = False, **kwargs: Any) -> Any:
        """Call a function of the client, again if need be.

        Args:
            function: a bound method of `self.api`.
            *args: for the function.
            once: whether to call again only after an answer that says that nothing was done.
            **kwargs: for the function.

        Raises:
            UnknownNameError: there is no such repository.
            ConflictError: another commit was made in between.
            RefusedError: the Hub refuses.
            UnreachableError: the Hub cannot be reached, or goes on failing.
        """
        for attempt in range(1, TRIES + 1):
            try:
                return function(*args, **kwargs)
            except OfflineModeIsEnabled:
                raise UnreachableError(
                    "huggingface_hub is offline (HF_HUB_OFFLINE is set); publishing needs the Hub."
                ) from None
            except HFValidationError as error:
                raise RefusedError(" ".join(str(error).split())) from None
            except (HTTPError, json.JSONDecodeError) as error:
                problem, asked = self._problem(error), _asked_wait(error)
                wait = FIRST_WAIT * 2 ** (attempt - 1) if asked is None else asked
                may_help = isinstance(problem, UnreachableError) and (not once or _status(error) == 429)
                if attempt == TRIES or not may_help or wait > LONGEST_WAIT:
                    raise problem from None
                answer = f"answers {_status(error)}" if _status(error) else f"does not answer ({type(error).__name__})"
                self.progress(f"The Hub {answer}; trying again in {wait:.0f} s ({attempt} of {TRIES - 1}).")
                time.sleep(wait)
        raise AssertionError("unreachable")

    def _problem(self, error: Exception) -> HfvfError:
        """What an error of the client means for somebody who publishes."""
        if isinstance(error, json.JSONDecodeError):
            return UnreachableError(
                f"What answers at {self.api.endpoint} is no Hub, or a broken one: its answer is no JSON."
            )
        if not isinstance(error, HfHubHTTPError):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return UnreachableError(
                f"The Hub at {self.api.endpoint} cannot be reached ({type(error).__name__}: {reason})."
            )
        status = _status(error)
        said = f" The Hub says: {error.server_message.splitlines()[0]}" if error.server_message else ""
        if status == 404:
            return UnknownNameError(f"There is no {self.repo_id} on the Hub that the token may see.{said}")
        if status == 412:
            return ConflictError(
                f"Somebody else has committed to {self.repo_id} in the meantime and nothing was changed; look at what "
                "they did and publish again."
            )
        if status == 429:
            asked = _asked_wait(error)
            when = f" for {asked:.0f} s" if asked else ""
            return UnreachableError(
                f"The Hub asks to wait{when} before it takes more requests (429); publish again later."
            )
        if status in FAILING:
            return UnreachableError(
                f"The Hub goes on failing ({status}); the same command takes up later where this one stopped.{said}"
            )
        refusals = {
            401: "The Hub does not know the token; log in anew with `hf auth login`.",
            402: f"The Hub asks for a paid plan for this (402): {self.repo_id} was not created or changed. A Space of "
            f"Docker or Gradio needs a PRO, Team or Enterprise plan.{said}",
            403: f"The token may not write to {self.repo_id}; expected one that may.{said}",
        }
        return RefusedError(refusals.get(status, f"The Hub refuses ({status}) for {self.repo_id}.{said}"))


def _status(error: Exception) -> int | None:
    """The status of the answer, None where there was none."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _asked_wait(error: Exception) -> float | None:
    """Seconds that the answer asks to wait, None where it does not say."""
    if not isinstance(error, HfHubHTTPError):
        return None
    after = error.response.headers.get("Retry-After", "")
    if after.isdigit():
        return float(after)
    limit = parse_ratelimit_headers(error.response.headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None
