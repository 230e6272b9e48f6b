# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space that looks inside the models.

`methods.py`, `layers.py`, `maps.py`, `scores.py` and `dropping.py` compute and know nothing of Streamlit;
`overlays.py`, `charts.py` and `files.py` make pictures and files of that; `results.py` remembers it. `page.py` draws the page, each
of its views in a module of its own: `view_maps.py`, `view_attention.py`, `view_comparison.py` and `view_dropping.py`.
"""
