"""The command line: one module per command, each turning arguments into one library call."""

import warnings

warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)  # Detectron2's layers
