"""Kernels of CT: HU, projections, and what the acquisition does to them."""
