"""The readable PyTorch twin of each op, with the same signature: what the kernels must compute."""
