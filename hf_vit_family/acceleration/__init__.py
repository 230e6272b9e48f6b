"""Faster: optimised models, formats for deployment, kernels, and benchmarks of them all."""
