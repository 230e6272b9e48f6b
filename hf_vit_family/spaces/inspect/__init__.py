# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space that looks inside the models.

Without Streamlit: `methods.py`, `layers.py`, `maps.py`, `scores.py` and `dropping.py` compute; `overlays.py`,
`charts.py` and `files.py` make pictures and files of that; `results.py` remembers it. `page.py` draws the page with the
choices of `controls.py`; each of its views has a module of its own, `view_*.py`.
"""
