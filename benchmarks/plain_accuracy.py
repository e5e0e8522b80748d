"""What a plain ``transformers`` script reaches, to hold the project's accuracies against.

It shares no code with the project: GLUE's files are read here, the classifier is transformers'
own, and the loop is ``transformers.Trainer`` with bf16 autocast, a linear schedule and as many
warm-up steps as ``train.py`` has. Other than there, the head learns at the backbone's rate, nothing
decays, and the model of the last step is evaluated; MRPC takes ``--steps 300``. One run, its
accuracy on the dev split::

    python benchmarks/plain_accuracy.py --model FOLDER --data FOLDER --task sst2 --method lora
"""

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model


class Files(NamedTuple):
    """Where a task's rows are, and in which columns."""

    folder: str
    texts: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    max_length: int


FILES = {
    "sst2": Files("SST-2", ("sentence",), "label", ("0", "1"), 64),
    "mrpc": Files("MRPC", ("#1 String", "#2 String"), "Quality", ("0", "1"), 128),
    "rte": Files("RTE", ("sentence1", "sentence2"), "label", ("entailment", "not_entailment"), 256),
}
RATES = {"full_finetune": 2e-4, "lora": 2e-3}


def main() -> None:
    """Train once and print the accuracy on dev."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a Hugging Face model folder")
    parser.add_argument("--data", required=True, help="a folder with glue/SST-2 and so on")
    parser.add_argument("--task", choices=FILES, default="sst2")
    parser.add_argument("--method", choices=RATES, default="lora")
    parser.add_argument("--lr", type=float, help="the default is the method's of scale=small")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.set_seed(options.seed)
    transformers.utils.logging.set_verbosity_error()
    files = FILES[options.task]
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = classifier(options.model, options.method, tokenizer)
    train, dev = (rows(files, Path(options.data), split, tokenizer) for split in ("train", "dev"))
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=32,
            max_steps=options.steps,
            learning_rate=options.lr or RATES[options.method],
            lr_scheduler_type="linear",
            warmup_steps=round(0.06 * options.steps),
            bf16=True,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=options.seed,
        )
        trainer = transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=dev,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
            compute_metrics=accuracy,
        )
        trainer.train()
        found = trainer.evaluate()["eval_accuracy"]
    print(f"{options.task} {options.method} seed {options.seed}: {100 * found:.2f} % of dev")


def classifier(folder: str, method: str, tokenizer: Any) -> Any:
    """Transformers' classifier on the last token, in float32."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, dtype=torch.float32
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    if method == "lora":
        adapter = LoraConfig(
            TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules="all-linear", lora_dropout=0.0
        )
        model = get_peft_model(model, adapter)
    return model


def rows(files: Files, data: Path, split: str, tokenizer: Any) -> list[dict[str, Any]]:
    """Token ids and labels of a split."""
    path = data / "glue" / files.folder / f"{split}.tsv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [[line[name].strip() for line in lines] for name in files.texts]
    tokens = tokenizer(*texts, truncation=True, max_length=files.max_length)
    return [
        {"input_ids": ids, "labels": files.labels.index(line[files.label])}
        for ids, line in zip(tokens["input_ids"], lines, strict=True)
    ]


def accuracy(found: Any) -> dict[str, float]:
    """The share of right labels."""
    return {"accuracy": float(np.mean(found.predictions.argmax(1) == found.label_ids))}


if __name__ == "__main__":
    main()
