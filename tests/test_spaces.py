# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The folders that are published as Spaces, their one configuration, and what a page imports before its text."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from browser import ROOT, container_command
from huggingface_hub import metadata_load
from packaging.requirements import Requirement

from hf_vit_family.hub.publishing.checks import checked_space
from hf_vit_family.hub.publishing.space import space_folder, space_problems
from hf_vit_family.spaces.layout import SPACES

CONFIGURATION = ROOT / "hf_vit_family" / "spaces" / "local" / ".streamlit" / "config.toml"
FILES = {".dockerignore", ".streamlit/config.toml", "Dockerfile", "README.md", "app.py", "requirements.txt"}
each_space = pytest.mark.parametrize("name", list(SPACES))


def text(name: str, file: str) -> str:
    return (ROOT / "spaces" / name / file).read_text(encoding="utf-8")


def test_every_space_has_a_folder_and_a_page():
    folders = sorted(path.name for path in (ROOT / "spaces").iterdir() if path.is_dir())
    assert folders == sorted(SPACES)
    for name in SPACES:
        assert (ROOT / "hf_vit_family" / "spaces" / name / "page.py").is_file()


@each_space
def test_publishing_takes_the_folder_as_it_is(name):
    folder = space_folder(name)
    assert space_problems(folder) == []
    files, left_out = checked_space(folder)
    assert set(files) == FILES
    assert all(path.endswith((".pyc", "__pycache__/")) for path in left_out)


@each_space
def test_front_matter(name):
    values = metadata_load(ROOT / "spaces" / name / "README.md")
    assert (values["sdk"], values["app_port"], values["license"]) == ("docker", 8501, "apache-2.0")
    assert len(values["short_description"]) <= 60 and values["title"] and values["emoji"]
    assert {"colorFrom", "colorTo", "tags", "pinned"} <= set(values)
    assert "models" not in values, "none of them is on the Hub yet"


def test_titles_and_descriptions_differ():
    values = [metadata_load(ROOT / "spaces" / name / "README.md") for name in SPACES]
    for key in ("title", "short_description", "emoji"):
        assert len({value[key] for value in values}) == len(SPACES)


@each_space
def test_dockerfile(name):
    """User 1000, the requirements before the app, caches below the home folder, the port of the front matter."""
    lines = text(name, "Dockerfile").splitlines()
    at = {line: place for place, line in enumerate(lines)}
    assert lines[0] == "FROM python:3.11-slim"
    requirements = at["COPY --chown=user requirements.txt *.whl ./"]
    install = next(place for place, line in enumerate(lines) if line.startswith("RUN pip install"))
    assert at["RUN useradd -m -u 1000 user"] < at["USER user"] < at["WORKDIR /home/user/app"] < requirements
    assert requirements < install < at["COPY --chown=user . ."]
    assert "--no-cache-dir" in lines[install] and "-r requirements.txt" in lines[install]
    folders = re.findall(r"\b(?:HOME|HF_HOME|MPLCONFIGDIR)=(\S+)", text(name, "Dockerfile"))
    assert len(folders) == 3 and all(folder.startswith("/home/user") for folder in folders)
    command = ["streamlit", "run", "app.py", "--server.port=8501", "--server.address=0.0.0.0"]
    assert container_command(ROOT / "spaces" / name) == command
    assert "EXPOSE 8501" in at


@pytest.mark.parametrize("file", ["Dockerfile", "requirements.txt", ".dockerignore"])
def test_the_containers_are_the_same(file):
    assert len({text(name, file) for name in SPACES}) == 1


def test_health_check():
    """Run as it stands in the Dockerfile, against a server that is well and one that is not."""
    words = re.search(r"^HEALTHCHECK[^\[]*CMD (\[.*\])$", text("classify", "Dockerfile"), re.M)[1]
    program, option, code = json.loads(words)
    assert (program, option) == ("python", "-c")

    class Handler(BaseHTTPRequestHandler):
        status = 200
        base = ""

        def do_GET(self):
            self.send_response(self.status if self.path == f"{self.base}/_stcore/health" else 404)
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = code.replace("8501", str(server.server_address[1]))
        # nobody listens where the proxy is said to be
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:9")
        kept = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}

        def check(**values: str) -> int:
            environment = {**kept, **proxies, **values}
            return subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL).returncode

        assert check() == 0
        Handler.base = "/some/base"
        assert check() == 1 and check(STREAMLIT_SERVER_BASE_URL_PATH="/some/base/") == 0
        Handler.base = ""
        Handler.status = 503
        assert check() == 1
        server.shutdown()
    assert check() == 1


@each_space
def test_requirements_are_ranges(name):
    lines = [line.partition("#")[0].strip() for line in text(name, "requirements.txt").splitlines()]
    requirements = {entry.name: entry for entry in map(Requirement, filter(None, lines))}
    own = requirements.pop("hf_vit_family")
    assert own.extras == {"spaces"} and not own.specifier and own.url is None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [Requirement(line) for line in project["optional-dependencies"]["spaces"]]
    for entry in (*requirements.values(), *extra):
        operators = {specifier.operator for specifier in entry.specifier}
        assert operators == {">=", "<"}, f"{entry} is no range"
    assert set(requirements) == {"streamlit"} and "streamlit" in {entry.name for entry in extra}


@each_space
def test_one_configuration(name):
    assert text(name, ".streamlit/config.toml") == CONFIGURATION.read_text(encoding="utf-8")


def test_streamlit_knows_every_option():
    config = pytest.importorskip("streamlit.config", reason="the extra spaces brings it")
    known = config.get_config_options()

    def options(table: dict, prefix: str = ""):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from options(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    chosen = dict(options(tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))))
    assert not set(chosen) - set(known)
    needed = {
        "server.headless": True,
        "server.enableXsrfProtection": False,
        "server.fileWatcherType": "none",
        "server.maxUploadSize": 30,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
    }
    assert {key: chosen[key] for key in needed} == needed


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_of_the_themes(theme):
    """WCAG AA: 4.5 for text, 3 for the edges of controls. axe checks the pages themselves."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    colours = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["theme"][theme]
    for background in ("backgroundColor", "secondaryBackgroundColor"):
        for front in ("textColor", "linkColor", "primaryColor", "codeTextColor"):
            assert contrast(colours[front], colours[background]) >= 4.5, (front, background)
        assert contrast(colours["borderColor"], colours[background]) >= 3


@each_space
def test_the_script_is_a_few_lines(name):
    script = text(name, "app.py")
    assert script.startswith("# Copyright 2026")
    assert len(script.splitlines()) <= 12
    assert script.index('os.environ["HFVF_LAZY_IMPORT"] = "1"') < script.index("from hf_vit_family")
    assert f"from hf_vit_family.spaces.{name}.page import main\n\nmain()\n" in script


# In a process of its own, a server that has just started: what the page has shown and how long its script has computed
# when something heavy is imported.
WATCH = """
import json, os, runpy, sys, time
import streamlit

shown = []

def watch(kind):
    draw = getattr(streamlit, kind)
    def drawn(body, *args, **kwargs):
        shown.append([kind, str(body)])
        return draw(body, *args, **kwargs)
    setattr(streamlit, kind, drawn)

for kind in ("title", "markdown", "caption", "segmented_control", "selectbox", "multiselect"):
    watch(kind)

def stop(name):
    print("RESULT" + json.dumps({"import": name, "shown": shown, "seconds": time.process_time() - start}))
    sys.stdout.flush()
    os._exit(0)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "matplotlib", "torchvision"):
            stop(name)

sys.meta_path.insert(0, Finder())
start = time.process_time()
runpy.run_path(sys.argv[1], run_name="__main__")
stop(None)
"""


@each_space
def test_the_text_stands_before_anything_heavy_is_imported(name, tmp_path):
    """Heading, purpose and the first control are on the page before torch, transformers or matplotlib is asked for."""
    pytest.importorskip("streamlit", reason="the extra spaces brings it")
    (tmp_path / "watch.py").write_text(WATCH)
    environment = {key: value for key, value in os.environ.items() if key != "HFVF_LAZY_IMPORT"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "watch.py"), str(ROOT / "spaces" / name / "app.py")],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")] or [done.stderr]
    result = json.loads(line.removeprefix("RESULT"))
    shown = [kind for kind, _ in result["shown"]]
    assert shown[:3] == ["title", "markdown", "caption"], result
    assert result["shown"][0][1] == SPACES[name].title and result["shown"][1][1] == SPACES[name].purpose
    assert {"segmented_control", "selectbox", "multiselect"} & set(shown), f"no control before {result['import']}"
    assert result["seconds"] < 3, f"{result['seconds']:.1f} s of one processor until {result['import']} is imported"


def fresh(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    kept = {key: value for key, value in os.environ.items() if key != "HFVF_LAZY_IMPORT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


KNOWS = (
    "from transformers import CONFIG_MAPPING; print('hfvf_twins' in CONFIG_MAPPING, 'hfvf_maxvit' in CONFIG_MAPPING)"
)


def test_importing_the_package_registers_its_classes():
    assert fresh(f"import hf_vit_family; {KNOWS}") == "True True\n"


def test_in_a_page_they_are_registered_before_a_model_is_loaded():
    code = f"""
import sys
import hf_vit_family
import hf_vit_family.spaces.choices, hf_vit_family.spaces.layout
print([name for name in ("torch", "transformers", "matplotlib", "pandas", "pyarrow") if name in sys.modules])
try:
    hf_vit_family.nothing
except AttributeError as error:
    print(error)
from hf_vit_family.spaces.models import serve
print(serve("twins_fashion_mnist").family)
{KNOWS}
print(hf_vit_family.load_model is sys.modules["hf_vit_family.loading"].load_model)
"""
    printed = fresh(code, HFVF_LAZY_IMPORT="1").splitlines()
    assert printed == [
        "[]",
        "module 'hf_vit_family' has no attribute 'nothing'",
        "twins",
        "True True",
        "True",
    ]
