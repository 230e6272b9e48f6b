# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What is adapted and to what: heads, low-rank matrices, probes without training, distillation."""
