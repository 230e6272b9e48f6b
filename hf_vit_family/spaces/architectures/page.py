# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The page of the Space `architectures`."""

import importlib

import streamlit as st

from ..layout import ENDLESS, begin, end, problem

NAME = "architectures"
# what the link calls a section: what its control says, and the module and function that draw it
SECTIONS = {
    "tokens": ("Tokens and mixing", ".mixing_section", "draw"),
    "cost": ("Cost", ".cost_section", "draw"),
    "memory": ("Memory", ".cost_section", "draw_memory"),
    "families": ("All families", ".table_section", "draw"),
    "convolutions": ("Convolutions", ".convolution_section", "draw"),
}


def main() -> None:
    """Draws the page: the frame, the choice of a section, and that section."""
    begin(NAME)
    section = st.segmented_control(
        "Section",
        list(SECTIONS),
        default="tokens",
        required=True,
        format_func=lambda name: SECTIONS[name][0],
        key="section",
        bind="query-params",
    )
    try:
        _, module, function = SECTIONS[section]
        getattr(importlib.import_module(module, __package__), function)()
    except ValueError as error:
        problem(error)
    except OverflowError:
        problem(ENDLESS)
    end(NAME)
