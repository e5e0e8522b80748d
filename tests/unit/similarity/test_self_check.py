"""The self-test passes, and a faulty instrument does not get past it."""

import importlib
from dataclasses import replace

import pytest

from loradrift.similarity import MEASURES, SelfCheckError, raise_failed, self_check

module = importlib.import_module("loradrift.similarity.self_check")  # beside the function


CKA = MEASURES["cka"]
FAULTS = {
    "a wrong denominator": {"value": lambda x, y: 0.07 * CKA(x, y)},
    "the biased value": {"value": MEASURES["cka_biased"].value},
    "cosine called cka": {"value": MEASURES["cosine_centered"].value},
    "NaN": {"value": lambda x, y: float("nan")},
    "rows shuffled": {"value": lambda x, y: CKA(x, y.flip(0))},
    "a difference": {"distance": lambda x, y: 1 - CKA(x.float(), y.float())},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_cka_is_caught(fault, monkeypatch):
    monkeypatch.setattr(module, "MEASURES", {**MEASURES, "cka": replace(CKA, **FAULTS[fault])})
    drift = "planted drift of 1e-06 in 400 x 256"
    message = drift if fault == "a difference" else r"cka: .* is .*, must be .* to "
    with pytest.raises(SelfCheckError, match=message):
        raise_failed(self_check(["cka"]))


def test_every_proof_of_every_measure_holds_and_names_expected_and_found():
    proofs = self_check(seed=1)
    raise_failed(proofs)
    assert {proof.measure for proof in proofs} == set(MEASURES)
    proof = module.SelfCheck("cka", "self-similarity", 1.0, 0.07, 1e-6)
    with pytest.raises(SelfCheckError, match=r"cka: self-similarity is 0\.07, must be 1 to 1e-06"):
        raise_failed([proof])
