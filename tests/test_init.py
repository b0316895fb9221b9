"""The public names: complete, lazy, and where they say they are."""

import importlib

import pytest

import cst


def test_every_public_name_is_there():
    assert sorted(cst.__all__) == sorted(cst._HOMES)
    for name in cst.__all__:
        assert getattr(cst, name) is getattr(importlib.import_module(cst._HOMES[name]), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'cst' has no attribute 'nothing'"):
        _ = cst.nothing


def test_dir_shows_the_public_names():
    assert set(cst.__all__) <= set(dir(cst))
