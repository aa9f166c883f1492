"""File formats: COCO JSON, oriented-box labels, images, label maps, and the rules that files must follow."""
