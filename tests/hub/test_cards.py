"""Model cards, read by huggingface_hub's own reader."""

import pytest
import yaml
from helpers.model_folders import write_tiny_sopseg

METRICS = {"scenes_val": {"prompted": {"mIoU": 80.254, "boundary mIoU": None}, "segm": {"AP": 12.0}}}
TRAINING = {"data": "scenes_train", "steps": 3, "command": "insight train --config-file x", "config": {"SEED": 1}}


@pytest.fixture
def card(tmp_path, monkeypatch):
    about = {"license": "apache-2.0", "metrics": METRICS, "training": TRAINING, "gsd": (0.1, 0.5)}
    write_tiny_sopseg(tmp_path / "tiny", monkeypatch, **about)
    return tmp_path / "tiny" / "README.md"


def test_the_hub_reads_licence_task_and_results(card):
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard.load(card).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "insight-seg", "mask-generation")
    assert [(r.dataset_name, r.metric_name, r.metric_value) for r in data.eval_results] == [
        ("scenes_val", "prompted mIoU", 80.25),
        ("scenes_val", "segm AP", 12.0),
    ]


def test_the_text_has_what_a_reader_asks(card):
    text = card.read_text()
    assert "| command | insight train --config-file x |" in text and "```yaml\nSEED: 1\n```" in text
    assert "| prompted | mIoU | 80.3 |" in text and "boundary mIoU" not in text
    assert "0.1 to 0.5 m" in text and 'SOPSegPredictor.from_pretrained("tiny")' in text


def test_a_card_without_metrics_or_training_says_so(tmp_path, monkeypatch):
    write_tiny_sopseg(tmp_path / "tiny", monkeypatch)
    text = (tmp_path / "tiny" / "README.md").read_text()
    assert "## Training\n\nNot recorded." in text and "## Metrics\n\nNone recorded." in text
    assert "model-index" not in yaml.safe_load(text.split("---")[1])
