"""Processes of their own, for what must leave nothing behind in the one that tests."""

import pytest
from tests.engine.guard import Child


@pytest.fixture
def alone():
    """A process in which nothing has run."""
    one = Child()
    yield one
    one.close()


@pytest.fixture(scope="module")
def child():
    """A process in which other tests of this file run, too."""
    one = Child()
    yield one
    one.close()
