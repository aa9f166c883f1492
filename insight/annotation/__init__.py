"""From data sets of boxes to data sets of masks, as ReSOS was made; needs no Detectron2.

Source: SOPSeg, section on ReSOS.
"""
