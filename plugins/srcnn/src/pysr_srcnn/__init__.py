"""SRCNN (Dong, Loy, He, Tang, TPAMI 2016) for pysr."""
