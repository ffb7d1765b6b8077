"""Perceptual losses and the networks of Johnson, Alahi and Fei-Fei (ECCV 2016) for pysr."""
