"""A server for people who label and for the tools that they use: masks from boxes over HTTP, and the page's store.

Needs the extra `serve`. `create_app(Settings(...))` makes the application; nothing is global, so that a process can
hold several.
"""

from .settings import Limits, Settings

__all__ = ["Limits", "Settings", "create_app"]


def __getattr__(name: str):
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .app import create_app  # which imports torch; settings and store do not

    return create_app
