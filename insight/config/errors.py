"""The error of configs."""

from insight.errors import InputError


class ConfigError(InputError):
    """A config file, key or value that cannot be used."""
