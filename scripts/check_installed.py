"""Check an installed insight: it is the one of this environment, its configs, an operator, a prediction."""

import sys
from pathlib import Path

import numpy as np
import torch

import insight
from insight.modeling.sopseg import build_sopseg

package = Path(insight.__file__).parent
assert package.is_relative_to(sys.prefix), f"insight comes from {package}, not from {sys.prefix}"
assert list((package / "configs").rglob("*.yaml")), f"no configs in {package}"
assert insight.ops.has_ops(), "the compiled library is not loaded"

image = torch.randint(0, 256, (1, 3, 64, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
boxes = torch.tensor([[3.5, 4.0, 40.0, 50.25], [-10.0, 20.0, 30.0, 70.0]])
compiled = insight.ops.crop_resize(image, boxes, 28)
torch.testing.assert_close(compiled, insight.ops.reference.crop_resize(image, boxes, 28), atol=1e-3, rtol=1e-4)

torch.manual_seed(0)
predictor = insight.SOPSegPredictor(build_sopseg("vit_t", "edge"), input_size=64)
predictor.set_image(image[0].permute(1, 2, 0).numpy())
found = predictor.predict(boxes=[[10, 10, 30, 25]], oriented_boxes=[[40, 30, 20, 9, 45]])
assert np.asarray(found.masks).shape == (2, 64, 80)
assert np.isfinite(np.asarray(found.scores)).all()

if sys.modules.get("detectron2", "") is None:
    print("without Detectron2: operator and prediction work")
else:
    from insight.config import load_config

    assert load_config(["nwpu_light", "lpm"]).MODEL.META_ARCHITECTURE == "PromptRCNN"
    print("operator, prediction and shipped configs work")
