"""Generated images: copies of training images, distances of sets, and grids of samples."""
