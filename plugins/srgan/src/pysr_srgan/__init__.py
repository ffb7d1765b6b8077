"""SRResNet and SRGAN (Ledig et al., CVPR 2017) for pysr."""
