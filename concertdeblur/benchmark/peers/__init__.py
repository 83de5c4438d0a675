"""Networks that people use for deblurring, as their papers describe them, with random weights: their speed is measured."""
