"""An adapter for each test to spoil."""

from adapter_cases import folder  # noqa: F401
