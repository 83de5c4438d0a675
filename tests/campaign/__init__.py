"""A campaign against faults: damaged files, killed runs, full disks, strangers at the doors, runs without end.

`python -m tests.campaign` runs all of it, for hours; `tests/e2e/test_campaign.py` runs a short form of each part.
Every case is drawn from the seed, the part and its number alone, so that it can be run again by itself:
`python -m tests.campaign clips --seed 1 --only 17`.
"""
