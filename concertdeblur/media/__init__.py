"""File to frames and back: readers (PyAV, decord), writers (PyAV, system ffmpeg), colour, other streams."""
