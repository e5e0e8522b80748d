"""What an adapter is: its files, the layers it belongs to, the checks, and the certificate."""

from loradrift.adapters.base_checks import Fingerprints
from loradrift.adapters.certificate import certify
from loradrift.adapters.check_result import Certificate, Check

__all__ = ["Certificate", "Check", "Fingerprints", "certify"]
