import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from synthctx_data.errors import UsageError
from synthctx_data.tokens import BUNDLED
from training.loss import AnswerTrainer, labelled_loss
from training.turns import IGNORED

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE))


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=3),
    labelled=st.lists(st.integers(1, 60), min_size=1, max_size=9),
    items=st.sampled_from([None, 7]),
)
def test_loss_and_gradient_are_those_of_all_logits(lengths: list[int], labelled: list[int], items: int | None) -> None:
    width = max(lengths)
    torch.manual_seed(sum(labelled))
    ids = torch.randint(97, (len(lengths), width))
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    labels = torch.full_like(ids, IGNORED)
    for at in labelled:
        row = at % len(lengths)
        labels[row, at % lengths[row]] = ids[row, at % lengths[row]]
    one, other = model(), model()
    loss, scored, right = labelled_loss(one, {"input_ids": ids, "attention_mask": mask, "labels": labels}, items)
    logits = other(input_ids=ids, attention_mask=mask).logits[:, :-1]
    targets = labels[:, 1:]
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    assert scored == int((targets != IGNORED).sum())
    assert right == int((logits.argmax(-1) == targets).sum())
    slow = total / (items or max(scored, 1))
    torch.testing.assert_close(loss, slow, rtol=1e-5, atol=1e-7)
    loss.backward()
    slow.backward()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_run_is_that_of_the_stock_trainer(tmp_path) -> None:
    """With batches, accumulation and rows of different length: every logged loss, and the adapter that comes out."""
    torch.manual_seed(1)
    rows = [torch.randint(97, (int(n),)).tolist() for n in torch.randint(8, 60, (16,))]
    data = Dataset.from_list(
        [
            {"input_ids": ids, "labels": [IGNORED] * (len(ids) - 1 - i % 4) + ids[-1 - i % 4 :]}
            for i, ids in enumerate(rows)
        ]
    )
    runs = []
    for kind in (SFTTrainer, AnswerTrainer):
        trainer = kind(
            model=model(),
            args=SFTConfig(
                str(tmp_path / kind.__name__),
                max_length=None,
                bf16=False,
                activation_checkpointing=True,
                dataloader_pin_memory=False,
                report_to="none",
                per_device_train_batch_size=2,
                gradient_accumulation_steps=2,
                num_train_epochs=2,
                optim="sgd",  # Adam would blow up what is noise in gradients near zero
                learning_rate=1.0,
                logging_steps=1,
                save_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=data,
            processing_class=PreTrainedTokenizerFast.from_pretrained(str(BUNDLED)),
            peft_config=LoraConfig(target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        runs.append((losses, [p.detach() for p in trainer.model.parameters() if p.requires_grad]))
    torch.testing.assert_close(torch.tensor(runs[0][0]), torch.tensor(runs[1][0]), rtol=1e-4, atol=1e-4)
    for stock, ours in zip(runs[0][1], runs[1][1], strict=True):
        torch.testing.assert_close(stock, ours, rtol=1e-3, atol=1e-4)


def trainer_on(tmp_path, rows: list[list[int]], labelled: list[int], **options) -> AnswerTrainer:
    data = Dataset.from_list(
        [
            {"input_ids": ids, "labels": [IGNORED] * (len(ids) - n) + ids[len(ids) - n :]}
            for ids, n in zip(rows, labelled, strict=True)
        ]
    )
    given = {
        "max_length": None,
        "bf16": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "prediction_loss_only": True,
        **options,
    }
    return AnswerTrainer(
        model=model(),
        args=SFTConfig(str(tmp_path / "run"), **given),
        train_dataset=data,
        eval_dataset=data,
        processing_class=PreTrainedTokenizerFast.from_pretrained(str(BUNDLED)),
        peft_config=LoraConfig(target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_validation_loss_is_the_mean_over_tokens_whatever_the_batch(tmp_path) -> None:
    torch.manual_seed(2)
    rows = [torch.randint(97, (20,)).tolist() for _ in range(7)]
    labelled = [1, 12, 3, 7, 2, 15, 4]
    found = [
        trainer_on(tmp_path, rows, labelled, per_device_eval_batch_size=size).evaluate()["eval_loss"]
        for size in (1, 2, 3, 7)
    ]
    assert found == pytest.approx([found[0]] * 4, rel=1e-5)
    one, total = model().eval(), 0.0
    for ids, number in zip(rows, labelled, strict=True):
        labels = torch.tensor([[IGNORED] * (20 - number) + ids[20 - number :]])
        with torch.no_grad():
            total += float(labelled_loss(one, {"input_ids": torch.tensor([ids]), "labels": labels}, 1)[0])
    assert found[0] == pytest.approx(total / sum(labelled), rel=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_training_that_leaves_the_numbers_stops_and_saves_nothing_broken(tmp_path) -> None:
    rows = [list(range(2, 22))] * 8
    trainer = trainer_on(
        tmp_path,
        rows,
        [5] * 8,
        learning_rate=1e30,
        max_steps=6,
        save_strategy="steps",
        save_steps=1,
        optim="sgd",
        max_grad_norm=0,
        logging_nan_inf_filter=False,
    )
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(1.0)
    with pytest.raises(
        UsageError, match=r"the loss is (nan|inf) after step \d; lower --learning-rate, or raise --warmup-steps"
    ):
        trainer.train()
    for file in (tmp_path / "run").glob("checkpoint-*/adapter_model.safetensors"):
        assert all(torch.isfinite(weight).all() for weight in load_file(file).values())
    with torch.no_grad():
        next(weight for weight in trainer.model.parameters() if weight.requires_grad).fill_(torch.nan)
    with pytest.raises(UsageError, match=r"lora_A.* is not finite after step \d"):
        trainer.require_finite()
