"""Networks that people use for deblurring, as their papers describe them; weights are random, speed is measured."""
