"""What GRPO and DPO have in common: where answers end, and how a run goes on, ends and is kept."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from training import run_folder
from training.checkpoints import last_checkpoint
from training.model import choose_dtype
from training.options import DpoOptions, GrpoOptions
from training.turns import end_of_answer


def common_arguments(options: GrpoOptions | DpoOptions) -> dict[str, Any]:
    """The arguments of TRL's configurations that both take, by name."""
    gpu = torch.cuda.is_available()
    return {
        "output_dir": options.output,
        "learning_rate": options.learning_rate,
        "seed": options.seed,
        "use_cpu": not gpu,
        "bf16": gpu and choose_dtype(options.dtype) == torch.bfloat16,
        "logging_steps": options.logging_steps,
        "save_steps": options.save_steps,
        "save_total_limit": 2,
        "report_to": "none",
        "dataloader_pin_memory": gpu,
    }


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
