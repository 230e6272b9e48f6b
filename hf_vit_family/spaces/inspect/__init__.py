# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space that looks inside the models.

Without Streamlit: `layers.py` and `maps.py` compute, `charts.py` makes pictures of that. `results.py` scores
maps, drops patches and remembers what was computed. `page.py` draws the page: the views of `views.py` with the
choices of `controls.py`.
"""
