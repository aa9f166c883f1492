"""Models: the prompt paradigm of Insight Any Instance on Detectron2, and SOPSeg.

Importing this package loads no model and needs no Detectron2; `insight.modeling.registration` registers what does.
"""
