"""How cst is called where it is installed from, and which version it is; the build reads the version here."""

from importlib import metadata

__version__ = "0.1.0"

NAME = "configurable-safety-tuning"
"""The package index's `cst` is somebody else's."""


def install_command(extra: str) -> str:
    """What to type to get an optional part, such as `data`."""
    return f"pip install '{NAME}[{extra}]'"


def version(package: str) -> str:
    """The installed version of a package; that of `cst` is its own, also where it runs without being installed."""
    return __version__ if package == "cst" else metadata.version(package)
