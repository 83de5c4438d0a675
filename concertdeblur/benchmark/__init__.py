"""What `concertdeblur bench` measures, and how the figures are made of it."""
