"""The studio: a page on which clips become sharper; what it does itself is done by processes of its own."""
