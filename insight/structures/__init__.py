"""Boxes and masks as data; imports and runs without detectron2."""
