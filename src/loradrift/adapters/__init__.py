"""What an adapter is: its files, the layers it belongs to, the checks, and the certificate."""

from loradrift.adapters.adapter_changes import read_adapter
from loradrift.adapters.adapter_files import AdapterFiles, read_files
from loradrift.adapters.base_checks import Fingerprints
from loradrift.adapters.certificate import certify
from loradrift.adapters.check_result import Certificate, Check

__all__ = [
    "AdapterFiles",
    "Certificate",
    "Check",
    "Fingerprints",
    "certify",
    "read_adapter",
    "read_files",
]
