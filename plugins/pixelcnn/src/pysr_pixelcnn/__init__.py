"""Pixel recursive super resolution (Dahl, Norouzi, Shlens, ICCV 2017) for pysr."""
