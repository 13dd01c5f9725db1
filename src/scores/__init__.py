"""Images to numbers: features, distances, overlap, variety, and whether training images come back."""
