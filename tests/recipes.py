"""A recipe whose training takes seconds."""

_SHORT = """
name = "short"
seed = 3
[architecture]
kind = "concert"
image_generator = { width = 8, num_blocks = 1 }
patch_generator = { width = 8, num_blocks = 1 }
discriminator = { width = 8 }
[brmr]
[data]
max_held_out = 1
[samples]
capture_share = 0 # the slowest to make
[analysis]
steps = 2
cooldown_steps = 1
batch_size = 2
[igan]
steps = STEPS
cooldown_steps = 1
batch_size = 2
crop_px = 64
[pgan]
num_pictures = 2
steps = 2
cooldown_steps = 1
batch_size = 2
"""


def short_recipe(*, igan_steps: int) -> str:
    """The text of recipe `short`: networks of 8 channels, a few steps of each stage."""
    return _SHORT.replace("STEPS", str(igan_steps))
