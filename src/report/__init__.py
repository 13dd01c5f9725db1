"""Numbers and images to pictures, tables and text for people."""
