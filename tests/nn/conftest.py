"""The policies that run at the APs."""

import pytest

from tests.nn.local_policies import POLICIES


@pytest.fixture(params=POLICIES)
def policy(request):
    return POLICIES[request.param]()
