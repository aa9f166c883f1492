"""Models: the prompt paradigm of Insight Any Instance on Detectron2, and SOPSeg.

Importing this package imports none of them and needs no Detectron2; `insight.modeling.registration` registers those
that do.
"""
