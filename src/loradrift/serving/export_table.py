"""What ``benchmark=export`` prints."""

from pathlib import Path

from loradrift.serving.export_servable import Servable


def print_export(servable: Servable, out: Path) -> None:
    """Print what was written, how it was checked, and how it is served."""
    print(servable)
