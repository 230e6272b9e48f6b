# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The Space that classifies an image with one model, or compares up to four on it."""
