"""Values on the Hounsfield scale that several wings need."""

PADDING_HU = -1400.0
"""Up to this value voxels lie outside the reconstructed circle (-2048, -3024 and the like): no tissue, no noise."""

AIR_HU = -1000.0
FLOOR_HU = -1024.0
"""The least value that scanners store: what lies there or below is padding, or air that was clipped."""
