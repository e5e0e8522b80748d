"""A small study=persona, for the tests of its cells and of its keys."""

from loradrift.study.persona import PersonaStudyConfig

AXES = {"traits": ["cheerful", "cautious"], "methods": ["rslora", "full_finetune"], "seeds": [1, 2]}
GRID = {
    "doses": {"prompt": [1.0], "activation": [-1.0, 2.0], "weight": [0.25, 0.5]},
    "composed": {"weight": 0.25},
    "shares": [0.0, 0.5],
    "share_seeds": [3],
    "prevented": [1.0],
}


def small(**changes):
    return PersonaStudyConfig(name="persona", **{**AXES, **GRID, **changes})
