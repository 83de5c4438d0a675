"""Networks that people use for deblurring, written from their papers, with random weights: their speed is measured."""
