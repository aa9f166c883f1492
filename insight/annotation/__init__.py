"""Turn datasets of boxes into datasets of masks, as ReSOS was made; needs no Detectron2.

Source: SOPSeg, section on ReSOS.
"""
