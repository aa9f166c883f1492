"""The configs that ship with the package, by name."""

import difflib
import os
from pathlib import Path

from .errors import ConfigError


def configs_folder() -> Path:
    """Return the folder of the shipped configs, inside the installed package or beside it in a checkout.

    Raises:
        ConfigError: the installation has no configs.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return folder
    raise ConfigError(f"{package / 'configs'}: no such folder; the shipped configs are missing: install insight again")


def shipped_configs() -> dict[str, Path]:
    """Return the shipped configs by name, without the tables."""
    files = sorted(configs_folder().rglob("*.yaml"))
    return {file.stem: file for file in files if file.parent.name != "tables"}


def shipped_tables() -> dict[str, Path]:
    """Return the descriptions of the papers' tables by name."""
    return {file.stem: file for file in sorted((configs_folder() / "tables").glob("*.yaml"))}


def find_config(name: str | os.PathLike, shipped: dict[str, Path] | None = None) -> Path:
    """Find a config by name or path.

    Args:
        name: the name of a shipped config, such as `nwpu_light`; or a path, which has a separator or a suffix.
        shipped: where names are looked up; default: `shipped_configs()`.

    Returns:
        The file. A path is returned unchanged, whether the file exists or not.

    Raises:
        ConfigError: no shipped config has this name.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if path.suffix or path.name != text:
        return path
    shipped = shipped_configs() if shipped is None else shipped
    if text not in shipped:
        near = difflib.get_close_matches(text, shipped)
        names = f"the nearest: {', '.join(near)}" if near else f"there are {', '.join(shipped)}"
        raise ConfigError(f"{text:.100}: no such shipped config; {names} (a path has a suffix, as in {text:.100}.yaml)")
    return shipped[text]
