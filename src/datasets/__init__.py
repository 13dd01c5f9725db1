"""Labelled images: what they look like, where they come from, how they lie on disk."""
