"""The measurements of `concertdeblur bench`, and the figures that are made of them."""
