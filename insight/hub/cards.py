"""Model cards: README.md with the YAML front matter that the Hugging Face hub reads."""

from collections.abc import Iterator
from typing import Any

import yaml

from .model_folder import ModelFolder

_ABOUT = {
    "sopseg": (
        "mask-generation",
        "SOPSeg segments the object in a box, an oriented box or under clicks, from a magnified crop of the image. It "
        "has no classes and detects nothing by itself.",
    ),
    "detector": (
        "image-segmentation",
        "A promptable detector: it finds instances with their classes and masks, and classifies and segments given "
        "boxes.",
    ),
}
# What a card says about a training run.
NOTES = {
    "data": "data",
    "start": "started from",
    "steps": "steps",
    "batch": "images or objects per step",
    "seed": "seed",
    "date": "trained on",
    "commit": "commit",
    "machine": "machine",
    "command": "command",
}


def model_card(model: ModelFolder, parameters: int) -> str:
    """Write the card of a model.

    Args:
        model: the model.
        parameters: number of its parameters and buffers.

    Returns:
        Markdown with YAML front matter.
    """
    task, about = _ABOUT[model.kind]
    front = {
        "license": model.license,
        "library_name": "insight-seg",
        "pipeline_tag": task,
        "tags": ["remote-sensing", "instance-segmentation", "promptable-segmentation", model.kind],
        "model-index": [{"name": model.name, "results": list(_results(model, task))}],
    }
    if not model.metrics:
        del front["model-index"]
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {model.name}",
        about,
        _facts(model, parameters),
        "## Use",
        _use(model),
        "## Intended use",
        _intended_use(model),
        "## Training",
        _table(("", ""), [(label, model.training[key]) for key, label in NOTES.items() if model.training.get(key)])
        if model.training
        else "Not recorded.",
    ]
    if config := model.training.get("config"):
        text = yaml.safe_dump(config, sort_keys=True).rstrip()
        parts += [
            "The training config, where it differs from the defaults:",
            f"```yaml\n{text}\n```",
        ]
    parts += ["## Metrics", _metrics(model) or "None recorded."]
    return "\n\n".join(parts) + "\n"


def _facts(model: ModelFolder, parameters: int) -> str:
    rows: list[tuple[str, Any]] = [("parameters", f"{parameters / 1e6:.1f} M"), ("sha256", f"`{model.sha256}`")]
    if model.architecture is not None:
        keys = model.architecture
        rows[:0] = [("encoder, decoder", f"{keys.encoder}, {keys.decoder}"), ("crop", f"{keys.input_size} pixels")]
    else:
        rows[:0] = [("classes", ", ".join(model.class_names)), ("score threshold", f"{model.score_threshold:g}")]
    if model.gsd:
        low, high = model.gsd
        rows.append(("ground sample distance in training", f"{low:g} to {high:g} m"))
    return _table(("", ""), rows)


def _use(model: ModelFolder) -> str:
    loader = "SOPSegPredictor" if model.kind == "sopseg" else "PromptPredictor"
    command = "--boxes 10,20,50,60 " if model.kind == "sopseg" else ""
    return (
        f"```bash\ninsight predict image.png {command}--model {model.name} --output found\n```\n\n"
        f"```python\nfrom insight import {loader}\n\n"
        f'predictor = {loader}.from_pretrained("{model.name}")\n'
        'found = predictor.predict(image="image.png", boxes=[[10, 20, 50, 60]])\n```'
    )


def _intended_use(model: ModelFolder) -> str:
    sees = "aerial and satellite images seen from above, 8 bits per band, RGB"
    if model.gsd:
        low, high = model.gsd
        sees += f", at {low:g} to {high:g} m per pixel as in training"
    return (
        f"Annotation, research and prototypes on {sees}. Evaluate it on your own images before you rely on it: "
        "the metrics below are only for the datasets named there."
    )


def _metrics(model: ModelFolder) -> str:
    tables = []
    for dataset, tasks in model.metrics.items():
        rows = [
            (task, name, f"{value:.1f}")
            for task, metrics in tasks.items()
            for name, value in metrics.items()
            if value is not None
        ]
        tables.append(f"`{dataset}`:\n\n{_table(('task', 'metric', 'value'), rows)}")
    return "\n\n".join(tables)


def _results(model: ModelFolder, task: str) -> Iterator[dict[str, Any]]:
    """The entries of "model-index", one for each dataset."""
    for dataset, tasks in model.metrics.items():
        metrics = [
            {"type": name, "name": f"{kind} {name}", "value": round(value, 2)}
            for kind, found in tasks.items()
            for name, value in found.items()
            if value is not None
        ]
        if metrics:
            yield {"task": {"type": task}, "dataset": {"type": dataset, "name": dataset}, "metrics": metrics}


def _table(head: tuple[str, ...], rows: list[tuple]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
