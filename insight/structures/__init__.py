"""Boxes, oriented boxes, points, crops and run-length coded masks. Needs no Detectron2."""
