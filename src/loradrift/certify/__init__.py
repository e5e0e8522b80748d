"""Is the adapter applied? Checks, the certificate made of them, the diagnosis of a folder."""

from loradrift.certify.base_checks import Fingerprints
from loradrift.certify.case import Case
from loradrift.certify.certificate import certify
from loradrift.certify.choice import Applied, apply_adapter, find_case
from loradrift.certify.code import diagnose_command
from loradrift.certify.diagnose import Diagnosis, diagnose
from loradrift.certify.hosts import Host
from loradrift.certify.merge import merge_adapter
from loradrift.certify.record import Certificate, Check

__all__ = [
    "Applied",
    "Case",
    "Certificate",
    "Check",
    "Diagnosis",
    "Fingerprints",
    "Host",
    "apply_adapter",
    "certify",
    "diagnose",
    "diagnose_command",
    "find_case",
    "merge_adapter",
]
