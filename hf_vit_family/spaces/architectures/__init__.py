# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The teaching page: how the families cut an image into tokens, how they mix them, and what that costs."""
