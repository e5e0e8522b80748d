"""What ``import loradrift`` gives, and what it does not load."""

import subprocess
import sys

import pytest
from front_doors import ROOT

import loradrift


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'torch', 'pandas', 'numpy', 'matplotlib', 'transformers', 'hydra'}"
    asked = f"import sys, loradrift; dir(loradrift); print({heavy} & set(sys.modules))"
    reading = "loradrift.adapter; print('transformers' in sys.modules)"  # seconds, for nothing
    command = [sys.executable, "-c", f"{asked}; {reading}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.split() == ["set()", "False"]


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    assert {"runs_df", "adapter"} <= set(dir(loradrift))
    with pytest.raises(AttributeError, match="module 'loradrift' has no attribute 'run_df'"):
        _ = loradrift.run_df
