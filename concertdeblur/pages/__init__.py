"""Pages in the user's browser, served on this machine for this machine: the server and the style that all of them share."""
