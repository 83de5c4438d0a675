"""The jobs, each one short straight file: read one from top to bottom to see the whole of it."""
