"""Pages in the browser, served on this machine for this machine: the server and the style that all share."""
