"""Upscaling of compressed, noisy and soft photographs for pysr."""
