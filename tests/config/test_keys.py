"""Insight's keys in a Detectron2 config."""

import pytest

pytest.importorskip("detectron2")
from detectron2.config import get_cfg

import insight
from insight.config import ConfigError, load_config
from insight.errors import InsightError


def test_the_defaults_leave_every_part_off():
    cfg = load_config()
    assert cfg.is_frozen() and cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    assert not any((cfg.MODEL.PROMPT.LPM.ENABLED, cfg.MODEL.PROMPT.GPM.ENABLED, cfg.MODEL.RPN.AREA_LOSS.ENABLED))


def test_keys_of_pointrend_that_are_set_before_stay():
    pytest.importorskip("detectron2.projects.point_rend")
    from detectron2.projects.point_rend import add_pointrend_config

    cfg = get_cfg()
    add_pointrend_config(cfg)
    cfg.MODEL.POINT_HEAD.NUM_FC = 7
    insight.add_insight_config(cfg)
    assert cfg.MODEL.POINT_HEAD.NUM_FC == 7


def test_a_config_error_is_the_users():
    assert issubclass(ConfigError, InsightError) and issubclass(ConfigError, ValueError)
