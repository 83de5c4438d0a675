"""Picture files to pixels and back, with everything that a picture carries besides its pixels."""
