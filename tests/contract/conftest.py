"""Shared by the contract tests of all stores: failing assertions of the suite show their values."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("talo.testing.contract")
