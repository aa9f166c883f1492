"""From what the publishers of data sets ship to COCO files. Needs no Detectron2."""
