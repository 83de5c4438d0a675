"""A clip as work in segments, each on the disk before the next one counts: a run that was stopped goes on there."""
