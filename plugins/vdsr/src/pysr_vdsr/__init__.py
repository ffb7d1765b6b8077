"""VDSR (Kim, Lee, Lee, CVPR 2016) for pysr."""
