"""What the weights are worth: figures on held-out pictures and on clips."""
