"""A folder that may or may not be an applied adapter: loading attempts, advice, and the merge."""

from loradrift.diagnose.adapter_case import AdapterCase, find_case
from loradrift.diagnose.advice import diagnose_command
from loradrift.diagnose.diagnose import Diagnosis, diagnose
from loradrift.diagnose.load_attempts import Applied, apply_adapter
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.merge import merge_adapter

__all__ = [
    "AdapterCase",
    "Applied",
    "Diagnosis",
    "LoadedBase",
    "apply_adapter",
    "diagnose",
    "diagnose_command",
    "find_case",
    "merge_adapter",
]
