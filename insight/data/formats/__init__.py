"""File formats: COCO JSON, oriented-box labels, images, label maps, and the rules that a file must keep."""
