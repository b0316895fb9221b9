from pathlib import Path

import pytest
from tiny import load_tiny, write_tiny

from cst.models.loading import LoadedModel


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def loaded(tiny_folder: Path) -> LoadedModel:
    return load_tiny(tiny_folder)
