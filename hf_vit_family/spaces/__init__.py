# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The three Streamlit Spaces, and what they share: choosing images and models, taking turns, the look of a page.

A module here imports torch and transformers inside its functions only: the page's text must not wait for them.
"""
