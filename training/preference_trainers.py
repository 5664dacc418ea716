"""What GRPO and DPO have in common: where answers end, and how a run goes on, ends and is kept."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer

from training import run_folder
from training.checkpoints import last_checkpoint
from training.turns import end_of_answer


def ending_answers(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of the tokenizer whose end token is the one that its chat template puts behind answers, which need not be its own."""
    copied = deepcopy(tokenizer)
    copied.eos_token = tokenizer.convert_ids_to_tokens(end_of_answer(tokenizer))
    return copied


def train_and_keep(trainer: Any, tokenizer: Tokenizer, config: Any, output: Path, run: dict[str, Any]) -> Path:
    """The folder, after the adapter is trained, from the last checkpoint there on, and kept with its tokenizer and configuration."""
    run_folder.record(output, run)
    trainer.train(resume_from_checkpoint=last_checkpoint(output))
    trainer.save_state()
    trainer.save_model()
    tokenizer.save_pretrained(output)
    config.save_pretrained(output)
    run_folder.record(output, run, finished=True)
    return output
