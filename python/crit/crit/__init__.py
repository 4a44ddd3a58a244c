"""The checkpoint image tool."""

from pycriu import __version__

__all__ = ["__version__"]
