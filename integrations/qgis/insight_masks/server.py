"""The server that the user has chosen."""

from __future__ import annotations

import os
from collections.abc import Callable

from processing.core.ProcessingConfig import ProcessingConfig, Setting

from .client import Client

GROUP = "Insight"
_URL, _TOKEN = "INSIGHT_URL", "INSIGHT_TOKEN"  # settings, and environment variables that override them


def add_settings(icon) -> None:
    """Add the server to Settings > Options > Processing > Providers."""
    ProcessingConfig.settingIcons[GROUP] = icon
    ProcessingConfig.addSetting(Setting(GROUP, _URL, "Insight server", "http://localhost:8000"))
    ProcessingConfig.addSetting(Setting(GROUP, _TOKEN, "Server token", ""))
    ProcessingConfig.readSettings()


def remove_settings() -> None:
    """Remove the settings."""
    for name in (_URL, _TOKEN):
        ProcessingConfig.removeSetting(name)


def chosen_server(cancelled: Callable[[], bool] = lambda: False) -> Client:
    """Return the server."""
    url, token = (os.environ.get(name) or ProcessingConfig.getSetting(name) or "" for name in (_URL, _TOKEN))
    return Client(url, token, cancelled)
