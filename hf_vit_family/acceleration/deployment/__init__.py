# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""From a classifier to a folder that runs without this package: ONNX, OpenVINO, torch.export."""

from .writing import FORMATS, Deployment, export_for_deployment

__all__ = ["FORMATS", "Deployment", "export_for_deployment"]
