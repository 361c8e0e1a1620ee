"""How the suite runs: examples without a time limit (machines are shared), the longest files first."""

import os

import pytest
from hypothesis import settings

settings.register_profile("brainalign", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("brainalign")

LONGEST = ("test_packaging.py", "test_cli.py", "test_store.py")  # begun last, one of them would run on alone


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
