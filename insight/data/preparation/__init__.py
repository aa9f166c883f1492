"""Convert datasets as they are published to COCO files. Needs no Detectron2."""
