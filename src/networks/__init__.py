"""Generators, discriminators and classifiers: their layers, their files, and images drawn from them."""
