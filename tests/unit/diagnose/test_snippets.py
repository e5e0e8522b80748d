"""The code and commands that a diagnosis offers run as they are pasted."""

import pytest
import torch
from adapter_cases import WEIGHTS, edit, load_base, pasted, tensors_of, write_adapter
from transformers import AutoModelForSequenceClassification

from loradrift.analysis.diagnose.page import show
from loradrift.diagnose import diagnose
from loradrift.diagnose.advice import diagnose_command, override


def test_a_head_of_another_size_is_asked_for(model_folder, tmp_path):
    three = load_base(model_folder, AutoModelForSequenceClassification, num_labels=3)
    three.save_pretrained(tmp_path / "three")
    config = {"task_type": "SEQ_CLS", "kind": AutoModelForSequenceClassification}
    folder = write_adapter(tmp_path / "adapter", tmp_path / "three", **config)
    found = diagnose(str(folder), str(model_folder))
    assert "num_labels=3)" in found.advice.change
    assert pasted(found.advice.change)["model"].get_base_model().num_labels == 3


@pytest.mark.parametrize("name", ["adapter_model.bin", WEIGHTS])
def test_a_pickle_is_turned_into_safetensors(name, folder, model_folder):
    tensors = tensors_of(folder)
    (folder / WEIGHTS).unlink()
    torch.save(tensors, folder / name)
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 1
    pasted(found.advice.change)
    assert diagnose(str(folder), str(model_folder)).exit_code == 0


def test_what_is_printed_is_what_runs(model_folder, tmp_path, capsys):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    show(diagnose(str(folder), str(model_folder)))
    code = capsys.readouterr().out.partition("\nuse:\n")[2]
    pasted(code)  # unlike the parts above, with whatever the terminal made of its lines


def test_the_command_is_typed_with_quotes_where_hydra_needs_them(folder):
    assert override("adapter", "runs/a+b-1.0") == "adapter=runs/a+b-1.0"
    assert override("adapter", "a,b=3") == "'adapter=\"a,b=3\"'"
    command = "python analyze.py analysis=diagnose 'adapter=\"a b\"' base=<its base>"
    assert diagnose_command("a b", "<its base>") == command
    edit(folder, base_model_name_or_path=None)
    found = diagnose(str(folder), None)
    assert found.exit_code == 2 and found.advice.change.startswith("python analyze.py ")
