"""SOPSeg and the structures under it work where Detectron2 is not installed."""

import subprocess
import sys

WITHOUT_DETECTRON2 = """
import sys
sys.modules["detectron2"] = None  # importing it now raises ImportError
import torch
import insight.checkpoint
from insight.modeling.sopseg import build_sopseg, sopseg_loss
loaded = {"detectron2", "timm", "torchvision", "matplotlib", "safetensors"} & set(sys.modules)
assert loaded <= {"detectron2"}, f"imported, but not needed: {loaded}"
prediction = build_sopseg("vit_t")(torch.zeros(1, 3, 64, 64), boxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]))
sum(sopseg_loss(prediction, torch.ones(1, 64, 64)).values()).backward()
"""


def test_needs_no_detectron2():
    done = subprocess.run([sys.executable, "-c", WITHOUT_DETECTRON2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
