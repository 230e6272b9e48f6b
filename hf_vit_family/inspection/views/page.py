# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""One page of all pictures of a model, which lie beside it; it needs no network and no script."""

import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from .base import Method, Request

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --text: #1b1d21; --quiet: #565b63; --line: #d5d8dd; }
@media (prefers-color-scheme: dark) { :root { --page: #15171b; --text: #e7e9ec; --quiet: #a9afb8; --line: #3a3f47; } }
body { margin: 0 auto; padding: 1.25rem; max-width: 70rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--line); }
nav a { margin-right: .9rem; white-space: nowrap; }
a { color: inherit; }
p, figcaption { color: var(--quiet); margin: .25rem 0; }
figure { margin: .75rem 0 1.5rem; }
img { display: block; max-width: 100%; height: auto; }
"""


def render(
    request: Request, written: Sequence[tuple[Method, str, Path, Path]], left_out: Sequence[tuple[str, str]]
) -> str:
    """The page.

    Args:
        request: what was looked at.
        written: for each picture its method, title, file and file of arrays, in the page's folder.
        left_out: methods that do not fit, and why.
    """
    images = "; ".join(
        f"{name}: {request.label(int(logits.argmax()))}"
        for name, logits in zip(request.image_names, request.logits, strict=True)
    )
    captioned = [(method, title.replace("\n", ": "), *files) for method, title, *files in written]
    methods = {method.name: method for method, *_ in written}
    links = " ".join(f'<a href="#{name}">{name}</a>' for name in methods)
    sections = []
    for name, method in methods.items():
        figures = [
            f'<figure><a href="{quote(picture.name)}"><img src="{quote(picture.name)}" loading="lazy" '
            f'alt="{html.escape(title)}"></a><figcaption>{html.escape(title)}; '
            f'<a href="{quote(numbers.name)}">{html.escape(numbers.name)}</a></figcaption></figure>'
            for of, title, picture, numbers in captioned
            if of.name == name
        ]
        summary = html.escape(method.summary)
        sections.append(f'<h2 id="{name}">{name}</h2><p>{summary}</p>{"".join(figures)}')
    if left_out:
        reasons = "".join(f"<p>{html.escape(name)}: {html.escape(reason)}</p>" for name, reason in left_out)
        sections.append(f"<h2>Left out</h2>{reasons}")
    title = html.escape(f"Inside {request.name}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1><p>{html.escape(images)}</p><nav>{links}</nav>"
        f"{''.join(sections)}</body></html>\n"
    )
