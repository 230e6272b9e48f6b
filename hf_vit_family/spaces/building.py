# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The lock under which models are built."""

import threading

# torch's and transformers' initialisation is switched off for the whole process while a model is built, and two at once
# would each restore what the other has put there. Nothing is downloaded under it: that would make everybody wait.
building = threading.Lock()
