"""Is the adapter applied? Checks, the certificate made of them, the diagnosis of a folder."""

from loradrift.certify.base_checks import Fingerprints
from loradrift.certify.certificate import certify
from loradrift.certify.diagnose import Diagnosis, diagnose
from loradrift.certify.merge import merge_adapter
from loradrift.certify.record import Certificate, Check

__all__ = [
    "Certificate",
    "Check",
    "Diagnosis",
    "Fingerprints",
    "certify",
    "diagnose",
    "merge_adapter",
]
