"""`python -m concertdeblur`."""

from concertdeblur.cli import main

main()
