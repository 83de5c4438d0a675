"""Blurred frames to deblurred frames: the whole frame, the windows in it, the frames before it, any size."""
