"""Training of the scorer that chooses the path through a line's segmentation graph."""
