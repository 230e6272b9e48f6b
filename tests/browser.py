# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A Space started as its container does, and Chromium to look at it: fixtures of the browser tests.

A test file says `pytest_plugins = ["browser"]` and `SPACE = "classify"`, takes `visit` as an argument and imports the
plain functions it needs (`from browser import settled, screenshot`). Chromium is `HFVF_CHROMIUM` or /usr/bin/chromium.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "tests" / "screenshots"
PORT = "8501"  # of every Space's container
# a page of one of the slowest machines that tests run on, beside other work
PATIENCE = 180_000  # milliseconds
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # a request that tries to leave the machine is recorded, and goes nowhere
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_ENVIRONMENT_LEFT_OUT = ("STREAMLIT_", "HFVF_", "HF_", "XDG_")


@dataclass
class RunningSpace:
    """A Space's server: its address without a slash at the end, its process and what it has written."""

    url: str
    process: subprocess.Popen
    log: Path


@dataclass
class Heard:
    """What a browser context did that no test wants."""

    console: list[str] = field(default_factory=list)
    left_machine: list[str] = field(default_factory=list)


def container_command(folder: Path) -> list[str]:
    """The words of `CMD [...]` in a Space's Dockerfile."""
    words = re.search(r"^CMD\s+(\[.*?\])\s*$", (folder / "Dockerfile").read_text(encoding="utf-8"), re.M | re.S)
    assert words, f"{folder}/Dockerfile has no CMD written as a list"
    return json.loads(words[1].replace("\\\n", ""))


def start_space(folder: Path, home: Path, **environment: str) -> RunningSpace:
    """Runs the container's command on a free port of the loopback, with an empty home, and waits until it is healthy.

    Args:
        folder: the Space's folder.
        home: an empty folder for HOME; the log lies beside it.
        **environment: further variables, such as HFVF_MODELS.
    """
    port = free_port()
    command = [word.replace(PORT, port).replace("0.0.0.0", "127.0.0.1") for word in container_command(folder)]
    assert port in " ".join(command), f"{folder}/Dockerfile does not name port {PORT} in its CMD"
    if command[0] == "streamlit":
        command[:1] = [sys.executable, "-m", "streamlit"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_ENVIRONMENT_LEFT_OUT)}
    own = {"HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    log = home.parent / f"{home.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, **own, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = RunningSpace(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_healthy(running)
    except BaseException:
        stop_space(running)
        raise
    return running


def free_port() -> str:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def wait_until_healthy(running: RunningSpace, seconds: float = 120) -> None:
    """Polls the server's health check.

    Raises:
        AssertionError: it has ended, or is not healthy in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert running.process.poll() is None, f"the server ended:\n{running.log.read_text()[-3000:]}"
        try:
            with urllib.request.urlopen(f"{running.url}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server was not healthy after {seconds:.0f} s:\n{running.log.read_text()[-3000:]}")


def stop_space(running: RunningSpace) -> None:
    """Ends a server and what it started."""
    if running.process.poll() is None:
        os.killpg(running.process.pid, signal.SIGTERM)
        try:
            running.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait(timeout=15)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningSpace]]:
    """`space("classify")`, or the folder of one, starts it once a test file; a failed test shows the server's log."""
    running: dict[str, RunningSpace] = {}

    def start(name: str | Path) -> RunningSpace:
        folder = ROOT / "spaces" / name
        if str(folder) not in running:
            running[str(folder)] = start_space(folder, tmp_path_factory.mktemp("home"))
        return running[str(folder)]

    yield start
    for server in running.values():
        stop_space(server)
        print(server.log.read_text()[-3000:])


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """A headless Chromium, driven by Playwright. Without one the tests are skipped, but fail in CI."""
    path = os.environ.get("HFVF_CHROMIUM", "/usr/bin/chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _without_browser("Playwright is not installed (the extra `dev` brings it)")
    if not Path(path).exists():
        _without_browser(f"there is no Chromium at {path} (HFVF_CHROMIUM names another)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


def _without_browser(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What the test's pages wrote as errors to the console and asked of other machines: nothing, at the end."""
    record = Heard()
    yield record
    assert not record.left_machine, f"requests that leave the machine: {record.left_machine}"
    assert not record.console, f"errors in the browser's console: {record.console}"


@pytest.fixture
def visit(chromium, space, heard: Heard, request: pytest.FixtureRequest) -> Iterator[Callable]:
    """`visit("?model=...", width=390, dark=True)` opens the module's `SPACE` as a new visitor, and waits for the page.

    `wait=False` returns as soon as the address is asked for.
    """
    contexts = []

    def open_page(path: str = "", width: int = 1280, dark: bool = False, height: int = 900, wait: bool = True):
        server = space(request.module.SPACE)
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("request", lambda asked: _note(heard, asked.url))
        page = context.new_page()
        page.on("websocket", lambda socket: _note(heard, socket.url))
        page.on("console", lambda said: heard.console.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: heard.console.append(str(error)))
        page.goto(f"{server.url}/{path}", wait_until="commit")
        return settled(page) if wait else page

    yield open_page
    for context in contexts:
        context.close()


def _note(heard: Heard, url: str) -> None:
    address = urlsplit(url)
    if address.scheme not in ("data", "blob", "about") and address.hostname != "127.0.0.1":
        heard.left_machine.append(url)


def settled(page, quiet: float = 0.6):
    """Waits until the script has stayed idle for `quiet` seconds and charts and images are drawn; returns the page."""
    end = time.monotonic() + PATIENCE / 1000
    idle_since = None
    while time.monotonic() < end:
        if not page.evaluate(_IS_IDLE):
            idle_since = None
        elif idle_since is None:
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since >= quiet:
            return page
        page.wait_for_timeout(100)
    raise AssertionError(f"{page.url} was still busy after {PATIENCE / 1000:.0f} s")


def asked(page) -> dict[str, str]:
    """The link's query, by name."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


def says(page, text: str):
    """Waits for a text on the page; returns the page."""
    page.get_by_text(text).first.wait_for()
    return settled(page)


def choose(page, label: str, option: str) -> None:
    """Takes an option of a select box by the keyboard."""
    box = page.get_by_role("combobox", name=label)
    box.click()
    box.fill(option)
    box.press("Enter")
    settled(page)


# what scrolls a page of Streamlit
_SCROLLING = 'html, body, [data-testid="stMain"], [data-testid="stAppViewContainer"]'
_IS_IDLE = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    if (!app || app.dataset.testScriptState !== "notRunning" || app.dataset.testConnectionState !== "CONNECTED")
        return false;
    if (document.querySelector('[data-testid="stSkeleton"], [data-testid="stSpinner"]')) return false;
    const charts = [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')];
    if (charts.some(chart => !chart.querySelector("canvas, svg"))) return false;
    return [...document.images].every(image => image.complete) && document.fonts.status === "loaded";
}"""


def upload(page, name: str, data: bytes, mime: str = "image/jpeg") -> None:
    """Gives a file to the page's uploader and waits for what the page makes of it."""
    chooser = page.locator('[data-testid="stFileUploader"] input[type=file]')
    with page.expect_response(lambda answer: answer.request.method == "PUT", timeout=PATIENCE):
        chooser.set_input_files({"name": name, "mimeType": mime, "buffer": data})
    settled(page)


def screenshot(page, name: str) -> Path:
    """A picture of the whole page under tests/screenshots, which git ignores; the window grows to the page's height."""
    SCREENSHOTS.mkdir(exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    before = page.viewport_size
    height = page.evaluate(
        """all => Math.max(...[...document.querySelectorAll(all)].map(element => element.scrollHeight))""", _SCROLLING
    )
    page.set_viewport_size({"width": before["width"], "height": max(height, before["height"])})
    settled(page)
    page.screenshot(path=path)
    page.set_viewport_size(before)
    return path


def sideways(page) -> list[str]:
    """What makes the page wider than the window, one line each; empty where nobody has to scroll sideways."""
    return page.evaluate(
        """all => {
        const wide = [...document.querySelectorAll(all)]
            .filter(element => element.scrollWidth > element.clientWidth + 1);
        if (!wide.length) return [];
        return [...document.querySelectorAll("body *")]
            .filter(element => element.getBoundingClientRect().right > window.innerWidth + 1).slice(0, 10)
            .map(element => `${element.tagName}.${element.className} ends at ${element.getBoundingClientRect().right}`)
            .concat(wide.map(element => `${element.tagName} is ${element.scrollWidth} wide`));
        }""",
        _SCROLLING,
    )


def accessibility(page) -> list[str]:
    """Violations of WCAG 2.2 A and AA that axe finds, one readable line for each element."""
    from axe_playwright_python.sync_playwright import Axe

    levels = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": levels}, "resultTypes": ["violations"]})
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {' '.join(map(str, node['target']))}: {node['html'][:200]}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]
