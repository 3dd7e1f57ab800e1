"""What the world finds is told in full."""

import pytest

pytest.register_assert_rewrite("tests.engine.world", "engine.world")
