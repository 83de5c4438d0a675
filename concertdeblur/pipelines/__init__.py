"""The jobs, each a short and straight file; read one from top to bottom to see the whole of it."""
