# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Metrics, and the report that a run leaves behind."""
