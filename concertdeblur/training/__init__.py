"""The training stages of the paper: iGAN, inside testing and mining, pGAN."""
