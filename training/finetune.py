"""Fine-tunes attention heads with LoRA: python training/finetune.py --config training/recipes/smollm2_mdqa_real.yaml"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthctx_data.command import out, run, script
from synthctx_data.dataset import has_split
from synthctx_data.errors import UsageError, first_line
from training import run_folder
from training.checkpoints import last_checkpoint
from training.options import FinetuneOptions, Recipe

_HELP = """\
Fine-tunes attention heads with LoRA.

For example:
  python training/finetune.py \\
      --config training/recipes/smollm2_mdqa_real.yaml
  python training/finetune.py \\
      --config training/recipes/llama3_mdqa_symbolic.yaml --learning-rate 2e-4 \\
      --output runs/warmer
  python training/finetune.py \\
      --config training/recipes/llama3_mdqa_symbolic.yaml --dry-run
"""
_NOTES = """\
Data sets:
  synthctx/mdqa_synth:symbolic_haystack      a folder that synthctx build
                                             wrote here, or else that id on
                                             the Hub
  synthctx/mdqa_synth:symbolic_haystack@v1   a revision on the Hub
  A:symbolic_haystack*3 A:real_haystack*1    a mixture: three rows of the first
                                             for each of the second, none twice

Several GPUs:
  torchrun --nproc-per-node 2 training/finetune.py --config ... \\
      --deepspeed training/deepspeed/zero2.json
  With --sequence-parallel 2 besides, both read each context together, half
  of it each (docs/training.md).

Some heads only, such as the retrieval heads (docs/retrieval_heads.md):
  python training/finetune.py --config ... --heads heads/smollm2 --top 20

The folder --output gets the adapter, the extended configuration, a model
card, and run.json (recipe and data). Called again after an interruption, the
same command goes on from the last checkpoint there, and ends with the same
weights.
"""


def main(recipe: FinetuneOptions, config: str) -> None:
    """Fine-tunes with a recipe, or says what that would take."""
    if config and "output" not in recipe.model_fields_set:
        recipe = recipe.model_copy(update={"output": str(Path("runs") / config)})
    if recipe.dry_run:
        from training.dry_run import forecast, show_forecast

        show_forecast(recipe, forecast(recipe))
        return
    output = finetune(recipe)
    out.print(f"{output}: adapter, run.json, README.md", soft_wrap=True)
    data = recipe.data[0].split("*")[0]
    out.print(f"evaluate it:  python training/evaluate.py --adapter {output} --data {data}", soft_wrap=True)


def finetune(recipe: Recipe) -> Path:
    """The folder of the finished adapter. The adapter is trained there, unless it is there already.

    Raises: UsageError if model or data cannot be loaded or do not fit; ConflictError if the folder holds another run.
    """
    output = Path(recipe.output)

    from training.chosen_heads import read_top, tune_only, whole_groups
    from training.identity import identify_data, identify_model
    from training.loss import AnswerTrainer
    from training.memory import choose_checkpointing
    from training.model import load_config, load_model, lora, shares_contexts
    from training.model_card import write_card
    from training.sequence_parallel import divide_contexts
    from training.sequences import encode_all, parse_mixture
    from training.turns import load_tokenizer

    if recipe.report_to != "none" and find_spec(recipe.report_to) is None:
        raise UsageError(f"--report-to {recipe.report_to}: expected it to be installed; pip install {recipe.report_to}")
    mixture = parse_mixture(recipe.data)
    data = [identify_data(part.address) for part in mixture]
    base = identify_model(recipe.model, recipe.model_revision)
    heads = read_top(recipe.heads, recipe.top) if recipe.heads and recipe.top else []
    tuned = {"heads": [list(one) for one in heads]} if heads else {}  # rather than where they lie
    run = {**recipe.decisive(), "base": base, "data": data, **tuned}
    if run_folder.is_finished(output, run, holding="checkpoint-*"):
        print(f"{output} is finished, from the same recipe and data")
        if recipe.push_to:
            _push(output, recipe.push_to)
        return output
    config = load_config(recipe)
    chosen = whole_groups(heads, config)
    tokenizer = load_tokenizer(recipe.model, recipe.model_revision)
    tokens = recipe.max_tokens or config.get_text_config().max_position_embeddings
    with_validation = [part for part in mixture if has_split(part.address, "validation")]
    arguments = _arguments(recipe, bool(with_validation), divide_contexts(recipe, config))
    together = shares_contexts(recipe, config)
    if recipe.positions == "skip" and not together:
        raise UsageError(
            f"--positions skip: expected --attention sdpa, and a model whose tokens see all tokens before them: {recipe.model} has a "
            "window or a state, or another --attention is asked for, or taken since there is a GPU; take --attention sdpa, or leave it out"
        )
    with arguments.main_process_first():
        encode = partial(encode_all, tokenizer=tokenizer, max_tokens=tokens, together=together)
        train, held_out = _encoded(recipe, encode, mixture, with_validation, tokens)
    arguments.activation_checkpointing = choose_checkpointing(config, recipe, max(map(len, train["labels"])))
    model = load_model(recipe, config)
    trainer = AnswerTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        data_collator=_collator(recipe, train, held_out),
        peft_config=lora(recipe, model),
    )
    if chosen:
        tune_only(trainer.model, chosen, config)
    if arguments.should_save:
        run_folder.record(output, run)
    trainer.train(resume_from_checkpoint=last_checkpoint(output))
    trainer.require_finite()
    _save(trainer, config)
    if arguments.should_save:
        write_card(output, recipe, tokenizer, data, trainer.state.log_history)
        run_folder.record(output, run, finished=True)
        if recipe.push_to:
            _push(output, recipe.push_to)
    return output


def _save(trainer: Any, config: Any) -> None:
    """Saves the adapter, the log, and the extended configuration."""
    trainer.save_state()
    trainer.save_model()
    if trainer.args.should_save:
        config.save_pretrained(trainer.args.output_dir)


def _encoded(recipe: Recipe, encode: Callable[[Any], Any], train: Any, validation: Any, tokens: int) -> tuple[Any, Any]:
    """The training sequences of the rows to train on, and of those to validate with (None if there are none)."""
    from training.sequences import load_mixture, with_skips

    found = encode(load_mixture(train, "train"))
    held_out = encode(load_mixture(validation, "validation")) if validation else None
    return with_skips(found, tokens, recipe.seed) if recipe.positions == "skip" else found, held_out


def _collator(recipe: Recipe, *sets: Any) -> Any:
    """The function that makes batches of these sequences; None for TRL's own."""
    from training.sequence_parallel import collate_divisible
    from training.sequences import collate_branches

    if recipe.sequence_parallel > 1:
        return collate_divisible(recipe.sequence_parallel)
    masked = any({"branches", "skip"} & {*rows.column_names} for rows in sets if rows is not None)
    return collate_branches if masked else None


def _arguments(recipe: Recipe, validates: bool, divided: Any) -> Any:
    import torch
    from trl import SFTConfig

    from training.model import choose_dtype

    gpu = torch.cuda.is_available()
    when = "no" if not validates else "steps" if recipe.eval_steps else "epoch"
    return SFTConfig(
        output_dir=recipe.output,
        max_length=None,
        shuffle_dataset=False,
        train_sampling_strategy="sequential" if recipe.order == "given" else "random",
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler,
        warmup_steps=recipe.warmup_steps,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        use_cpu=not gpu,
        bf16=gpu and choose_dtype(recipe.dtype) == torch.bfloat16,
        activation_checkpointing=True,  # until the memory that training takes is known
        deepspeed=recipe.deepspeed,
        parallelism_config=divided,
        logging_steps=recipe.logging_steps,
        logging_nan_inf_filter=False,  # it would log a loss that is not finite as 0
        eval_strategy=when,
        eval_steps=recipe.eval_steps,
        prediction_loss_only=True,
        save_steps=recipe.save_steps,
        save_total_limit=2,
        report_to=recipe.report_to,
        dataloader_pin_memory=gpu,
    )


def _push(output: Path, repository: str) -> None:
    from httpx2 import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(folder_path=output, repo_id=repository, ignore_patterns=["checkpoint-*", "runs/*", ".*"])
    except (OSError, HTTPError, HfHubHTTPError, HFValidationError) as error:
        reason = first_line(error)
        raise UsageError(
            f"--push-to {repository}: the adapter is finished in {output}, but the Hub says: {reason}; call again"
        ) from error


app = script("finetune", FinetuneOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
