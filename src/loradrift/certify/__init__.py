"""Is the adapter applied? Checks, the certificate made of them, the diagnosis of a folder."""

from loradrift.certify.base_checks import Fingerprints
from loradrift.certify.certificate import certify
from loradrift.certify.record import Certificate, Check

__all__ = ["Certificate", "Check", "Fingerprints", "certify"]
