"""Raises a model's rewards on a data set by reinforcement learning: python training/grpo.py --adapter runs/smollm2_mdqa_real --data ..."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthctx_data.command import out, run, script
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import UsageError
from training import run_folder
from training.options import GrpoOptions

Head = tuple[int, int]  # layer, head

_HELP = """\
Raises a model's rewards on a data set by reinforcement learning (GRPO, with
TRL), through a LoRA adapter.

For example, after training/finetune.py:
  python training/grpo.py --adapter runs/smollm2_mdqa_real \\
      --data synthctx/mdqa_synth:real_haystack --output runs/rewarded
"""
_NOTES = """\
For each prompt the model writes several answers (--generations), and learns
from which of them have the higher rewards. It must get some reward at first:
so fine-tune it before, and begin with that adapter.

Rewards (training/rewards.py):
  answer    the F1 of the answer, or of the documents that it cites
  evidence  how well the lines that it quotes are the needles; for rows of
            synthctx build --completion evidence. Quotations are long: give
            --max-new-tokens as many as they have.

The model is asked as its chat template opens an answer.

The folder --output gets the adapter, the extended configuration, and run.json.
Called again after an interruption, the same command goes on from the last
checkpoint there.
"""


def main(options: GrpoOptions, _: str) -> None:
    """Raises a model's rewards, and names the adapter."""
    output = raise_rewards(options)
    out.print(f"{output}: adapter, run.json", soft_wrap=True)
    out.print(f"evaluate it:  python training/evaluate.py --adapter {output} --data {options.data}", soft_wrap=True)


def raise_rewards(options: GrpoOptions) -> Path:
    """The folder of the finished adapter. The adapter is trained there, unless it is there already.

    Raises: UsageError if model or data cannot be loaded; ConflictError if the folder holds another run.
    """
    from trl import GRPOTrainer

    from training.identity import identify
    from training.model import load_config_of, load_tokenizer_of
    from training.preference_trainers import ending_answers, train_and_keep

    output = Path(options.output)
    run = {**options.decisive(), **identify(options)}
    if run_folder.is_finished(output, run, holding="checkpoint-*"):
        print(f"{output} is finished, from the same options and data")
        return output
    rows = load_rows(parse_variant_address(options.data), options.split, options.limit)
    tokenizer = load_tokenizer_of(options)
    if not tokenizer.chat_template:
        raise UsageError("--model: expected a tokenizer with a chat template, by which TRL asks, and this one has none")
    model, peft_config = _adapted(options)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=_rewards(options),
        args=_arguments(options),
        train_dataset=rows,
        processing_class=ending_answers(tokenizer),
        peft_config=peft_config,
    )
    return train_and_keep(trainer, tokenizer, load_config_of(options), output, run)


def _adapted(options: GrpoOptions) -> tuple[Any, Any]:
    """The model with the adapter that is trained on, or else the model with the configuration of a new adapter."""
    from training.chosen_heads import tune_only, whole_groups
    from training.model import load_adapted, lora

    model = load_adapted(options).train()
    if options.adapter is None:
        return model, lora(options, model)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    if heads := _heads_of(options.adapter):  # the others stay as they are
        tune_only(model, whole_groups(heads, model.config), model.config)
    return model, None


def _heads_of(adapter: str) -> list[Head]:
    """The heads that an adapter of training/finetune.py --heads was confined to; empty for others."""
    if not (Path(adapter) / run_folder.RUN_FILE).is_file():
        return []
    return [(layer, head) for layer, head in run_folder.read(Path(adapter)).get("heads") or []]


def _rewards(options: GrpoOptions) -> list[Callable[..., list[float]]]:
    from training.rewards import answer_reward, evidence_reward

    known = {"answer": answer_reward, "evidence": evidence_reward}
    return [known[name] for name in options.rewards]


def _arguments(options: GrpoOptions) -> Any:
    from trl import GRPOConfig

    from synthctx_data.tokens import THOUGHTS_OFF
    from training.preference_trainers import common_arguments

    return GRPOConfig(
        num_generations=options.generations,
        per_device_train_batch_size=options.generations,  # the answers to one prompt
        gradient_accumulation_steps=options.prompts,
        steps_per_generation=1,  # so that one long context at a time is answered
        max_completion_length=options.max_new_tokens,
        temperature=options.temperature,
        chat_template_kwargs=THOUGHTS_OFF,
        lr_scheduler_type="constant",
        max_steps=options.steps,
        **common_arguments(options),
    )


app = script("grpo", GrpoOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
