"""What the readers' tests read out of a request."""

from __future__ import annotations

import re

import pytest

_FENCED = r"<(data-\w+)>\n(.*?)\n</\2>"


@pytest.fixture
def shown():
    """Number and text of each example that a request asks about."""

    def read(request):
        found = re.findall(rf"Text (\d+):\n{_FENCED}", request.messages[-1].text, re.DOTALL)
        return [(int(number), body) for number, _, body in found]

    return read


@pytest.fixture
def described():
    """The description that a request asks about: the first fenced text."""

    def read(request):
        found = re.search(rf"(:)\n{_FENCED}", request.messages[-1].text, re.DOTALL)
        return found[3]

    return read
