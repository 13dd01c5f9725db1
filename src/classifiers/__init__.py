"""Training a classifier, and asking it for classes."""
