"""Instances per class, counted in dataset dicts and in the COCO file itself."""

import json
from collections import Counter


def class_counts(dicts, names):
    """Instances by class name in Detectron2's dicts."""
    return dict(Counter(names[a["category_id"]] for entry in dicts for a in entry["annotations"]))


def file_counts(path):
    """Annotations by class name in a COCO file."""
    content = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    return dict(Counter(names[a["category_id"]] for a in content["annotations"]))
