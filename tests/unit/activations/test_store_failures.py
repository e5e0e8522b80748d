"""Files are whole or absent, damage is named, and the errors of the disk come back."""

import errno
import os

import pytest
import torch
from probing import fill_disk

from loradrift.activations import ActivationStore, StoreError


def test_the_manifest_names_whole_files_at_every_moment(root, open_store, monkeypatch, layers):
    replace, seen = os.replace, []

    def watched(source, target):
        for turn in (lambda: replace(source, target), lambda: None):
            now = ActivationStore(root)
            for step in now.steps if (root / "manifest.json").exists() else []:
                now.verify(step)
            seen.append(target.name)
            turn()

    monkeypatch.setattr(os, "replace", watched)
    with open_store() as written:
        written.write(0, layers(0))
        written.write(1, layers(1))
        written.write(0, layers(2))
    assert len(seen) == 2 * 7
    assert ActivationStore(root).steps == [0, 1]
    assert torch.equal(ActivationStore(root).read(0)["layer_0"], layers(2)["layer_0"])


def test_a_full_disk_comes_back_as_one_error(root, stored, monkeypatch, gate, layers):
    fill_disk(monkeypatch)
    stored.write(1, layers())
    stored.write(2, layers())
    gate.set()
    message = r"step=000001.safetensors could not be written: .*No space left.*step=000002"
    with pytest.raises(StoreError, match=message) as caught:
        stored.flush()
    assert caught.value.__cause__.__cause__.errno == errno.ENOSPC
    stored.close()
    assert not list(root.glob("*.tmp"))
    assert ActivationStore(root).steps == stored.steps == [0]
    assert torch.equal(stored.read(0)["layer_0"], layers()["layer_0"])


@pytest.mark.parametrize("call", ["write", "close", "__exit__"])
def test_a_full_disk_is_noticed_by_the_next_call(open_store, monkeypatch, call, layers):
    written = open_store(queue_size=1)
    fill_disk(monkeypatch)
    written.write(1, layers())
    arguments = {"write": (2, layers()), "close": (), "__exit__": (None, None, None)}[call]
    with pytest.raises(StoreError, match=r"step=000001.safetensors could not be written"):
        getattr(written, call)(*arguments)
    written.close()


@pytest.mark.parametrize("after", [0, 1])
def test_a_full_disk_spares_the_step_to_be_replaced(root, stored, monkeypatch, after, layers):
    fill_disk(monkeypatch, after)
    stored.write(0, layers(1))
    with pytest.raises(StoreError, match=r"could not be written: .*No space left"):
        stored.close()
    assert torch.equal(ActivationStore(root).read(0)["layer_0"], layers(0)["layer_0"])
    ActivationStore(root).verify(0)
    assert not list(root.glob("*.tmp"))


def test_a_full_disk_while_the_manifest_is_written_names_it(root, open_store, monkeypatch, layers):
    written = open_store()
    fill_disk(monkeypatch, after=1)
    written.write(0, layers())
    with pytest.raises(StoreError, match=r"manifest.json could not be written: .*No space left"):
        written.close()
    assert written.steps == []
    assert not list(root.glob("*.tmp"))


def test_the_disk_does_not_mask_the_error_of_the_block(open_store, monkeypatch, layers):
    fill_disk(monkeypatch)
    with pytest.raises(KeyError, match="mine") as caught, open_store() as written:
        written.write(0, layers())
        raise KeyError("mine")
    assert "step=000000.safetensors could not be written" in caught.value.__notes__[0]


def test_a_file_that_is_changed_cut_or_gone_is_named(root, stored, layers):
    with stored:
        stored.write(1, layers())
    path = root / "step=000001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # a flipped bit
    with pytest.raises(StoreError, match=r"step=000001.safetensors is damaged: its sha256 must be"):
        stored.verify(1)
    for damage in (lambda: path.write_bytes(whole[:-8]), path.unlink):
        damage()
        with pytest.raises(StoreError, match=r"step=000001.safetensors cannot be read: "):
            stored.read(1)
        with pytest.raises(StoreError, match=r"step=000001.safetensors (cannot be r|is damaged)"):
            stored.verify(1)
    stored.verify(0)


def test_a_killed_writer_is_cleaned_up_after_by_the_next_one(root, open_store):
    open_store().close()
    leftover = root / "step=000007.safetensors.tmp"
    leftover.write_bytes(b"half")
    ActivationStore(root)
    assert leftover.exists()
    open_store()
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 2}', "manifest.json: schema_version must be 1, got 2"),
        ("[]", "manifest.json: schema_version must be 1, got None"),
        ('{"schema_version": 1, "steps"', "manifest.json is damaged: "),
        ('{"schema_version": 1, "steps": {}}', r"manifest.json is damaged: it lacks \['dtype', "),
    ],
)
def test_a_damaged_manifest_is_named(root, text, message):
    root.mkdir()
    (root / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        ActivationStore(root)
