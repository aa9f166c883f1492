"""Errors that name what the user can correct. Anything else that is raised is a bug in insight."""


class InsightError(Exception):
    """Base class of errors caused by input: an argument, a file, a config, a checkpoint."""


class InputError(InsightError, ValueError):
    """An argument or a file that cannot be used; the message names it, what was expected, and what was found."""


class MissingDependencyError(InsightError, ImportError):
    """An optional package that a feature needs is not installed; the message says how to get it."""
