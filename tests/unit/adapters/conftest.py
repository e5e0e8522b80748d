"""An adapter for each test to spoil."""

import pytest
from adapter_cases import write_adapter


@pytest.fixture
def folder(model_folder, tmp_path):
    """A healthy adapter of ``model_folder``."""
    return write_adapter(tmp_path / "adapter", model_folder)
