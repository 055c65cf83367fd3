"""Runs that several tests resume; each is made once."""

import pytest

from .changed_runs import maker_of_bases


@pytest.fixture(scope='session')
def bases(tmp_path_factory):
    """See `maker_of_bases`."""
    return maker_of_bases(tmp_path_factory.mktemp('bases'))
