"""Kernels of radiographs: effects on the photons, as changes of the displayed attenuation."""
