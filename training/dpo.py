"""Tunes a model to prefer some answers to others: python training/dpo.py --model models/smollm2 --pairs preferences.jsonl"""

import hashlib
from pathlib import Path
from typing import Any

from synthctx_data.command import out, run, script
from synthctx_data.errors import UsageError, first_line
from synthctx_data.files import expanded
from training import run_folder
from training.options import DpoOptions

_HELP = """\
Tunes a model to prefer some answers to others (DPO, with TRL), through a LoRA
adapter.

For example, with the answers that a model gives without its retrieval heads:
  python analysis/preferences.py --model models/smollm2 \\
      --data synthctx/mdqa_synth:real_haystack --heads heads/smollm2 \\
      --output preferences/smollm2
  python training/dpo.py --model models/smollm2 \\
      --pairs preferences/smollm2/preferences.jsonl --output runs/retmask
"""
_NOTES = """\
--pairs is a file of JSON lines with prompt, chosen and rejected: a text each,
or messages. The model itself, without the adapter, is the reference.

The folder --output gets the adapter, the extended configuration, and run.json.
Called again after an interruption, the same command goes on from the last
checkpoint there.
"""
_COLUMNS = ("prompt", "chosen", "rejected")


def main(options: DpoOptions, _: str) -> None:
    """Tunes a model on pairs, and names the adapter."""
    out.print(f"{prefer(options)}: adapter, run.json", soft_wrap=True)


def prefer(options: DpoOptions) -> Path:
    """The folder of the finished adapter. The adapter is trained there, unless it is there already.

    Raises: UsageError if the model or the pairs cannot be loaded; ConflictError if the folder holds another run.
    """
    from trl import DPOTrainer

    from training.identity import identify_model
    from training.model import load_config, load_model, lora
    from training.preference_trainers import ending_answers, train_and_keep
    from training.turns import load_tokenizer

    output, pairs = Path(options.output), _pairs(options.pairs)
    digest = hashlib.sha256(expanded(options.pairs).read_bytes()).hexdigest()[:16]
    base = identify_model(options.model, options.model_revision)
    run = {**options.decisive(), "base": base, "pairs_sha256": digest}
    if run_folder.is_finished(output, run, holding="checkpoint-*"):
        print(f"{output} is finished, from the same options and pairs")
        return output
    config = load_config(options)
    model = load_model(options, config)
    tokenizer = load_tokenizer(options.model, options.model_revision)
    trainer = DPOTrainer(
        model=model,
        args=_arguments(options),
        train_dataset=pairs,
        processing_class=ending_answers(tokenizer),
        peft_config=lora(options, model),
    )
    return train_and_keep(trainer, tokenizer, config, output, run)


def _pairs(place: str) -> Any:
    """The pairs in a file, as a datasets.Dataset.

    Raises: UsageError if there are none.
    """
    import datasets

    try:
        found = datasets.Dataset.from_json(str(expanded(place)))
    except (OSError, ValueError, datasets.exceptions.DatasetGenerationError) as error:
        raise UsageError(
            f"--pairs: expected a file of JSON lines with prompt, chosen and rejected, got {place}: {first_line(error)}"
        ) from error
    absent = [name for name in _COLUMNS if name not in found.column_names]
    if absent:
        raise UsageError(
            f"--pairs: expected {', '.join(_COLUMNS)} in each line of {place}, and there is no {absent[0]}"
        )
    return found.select_columns(list(_COLUMNS))


def _arguments(options: DpoOptions) -> Any:
    from trl import DPOConfig

    from training.preference_trainers import common_arguments

    return DPOConfig(
        beta=options.beta,
        max_length=None,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps or -1,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=options.accumulation,
        **common_arguments(options),
    )


app = script("dpo", DpoOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
