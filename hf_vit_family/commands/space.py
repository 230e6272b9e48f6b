# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""`hf-vit-family space`."""

import importlib.util
import socket
import threading
import time
import webbrowser
from contextlib import suppress
from typing import Annotated

import typer

from ..places import PACKAGE

SCRIPT = PACKAGE / "spaces" / "local" / "app.py"
FIRST_PORT = 8501
_TRIES = 100
_HOST = "127.0.0.1"


def space(
    name: Annotated[str, typer.Argument(help="classify, inspect or architectures.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Without it, the first that is free from 8501 on.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Show the page in the browser.")] = True,
) -> None:
    """Run one of the Spaces on this machine, for this machine alone; Ctrl-C ends it.

    classify: what models say of an image, side by side. inspect: what they attend to. architectures: how each family
    works and what it costs.
    """
    from ..models.compat import unknown_name_message
    from ..spaces.layout import SPACES

    if name not in SPACES:
        raise ValueError(unknown_name_message("Space", name, SPACES))
    if importlib.util.find_spec("streamlit") is None:
        raise ValueError("The Spaces need Streamlit, which is not installed: pip install 'hf_vit_family[spaces]'.")
    port = _first_free_port() if port is None else port
    if not _is_free(port):
        raise ValueError(f"Port {port} is in use; name another with --port, or none for the first that is free.")
    address = _address(name, port)
    typer.echo(f"{SPACES[name].title}: {address} (Ctrl-C ends it)")
    if open_browser:
        threading.Thread(target=_open_when_ready, args=(address, port), daemon=True).start()
    _run_streamlit(name, port)


def _arguments(name: str, port: int) -> list[str]:
    """Of `streamlit run`. They come before what the environment and files of the user say."""
    return [str(SCRIPT), f"--server.port={port}", f"--server.address={_HOST}", "--server.headless=true", "--", name]


def _address(name: str, port: int) -> str:
    """Where the page will be, by the configuration that Streamlit will find: a base path and a certificate count."""
    from streamlit import config
    from streamlit.web import bootstrap
    from streamlit.web.cli import main_run

    options = main_run.make_context("streamlit run", _arguments(name, port)).params
    config._main_script_path = str(SCRIPT)  # as `streamlit run` does first: the file that lies beside it counts
    bootstrap.load_config_options({key: options[key] for key in options if key not in ("target", "args")})
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    base = config.get_option("server.baseUrlPath").strip("/")
    return f"{scheme}://{_HOST}:{port}/{base}".rstrip("/")


def _run_streamlit(name: str, port: int) -> None:
    """Until somebody ends it. The configuration lies beside the script and is the one of the containers."""
    from streamlit.web.cli import main

    main(args=["run", *_arguments(name, port)], prog_name="streamlit", standalone_mode=False)


def _first_free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + _TRIES):
        if _is_free(port):
            return port
    raise ValueError(f"No port from {FIRST_PORT} to {FIRST_PORT + _TRIES - 1} is free; name one with --port.")


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does after one that has just ended
        try:
            attempt.bind((_HOST, port))
        except PermissionError:
            raise ValueError(f"Port {port} may not be used by this account; name another with --port.") from None
        except OSError:
            return False
    return True


def _open_when_ready(address: str, port: int, seconds: float = 120) -> None:
    """Opens the page once somebody listens; a bare connection, which no proxy, certificate or path comes between."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection((_HOST, port), timeout=5):
            webbrowser.open(address)
            return
        time.sleep(0.2)
