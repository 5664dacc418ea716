"""Makes a tiny model that can copy: python training/tiny.py models/tiny

With it every command can be tried in seconds, without a GPU or a download. Its weights are set, not trained. One attention head in
the first layer writes the name of the previous token beside each token. Five induction heads in the other layers (Olsson et al.
2022) copy the token that followed the present token earlier. So the model can continue a text from its context, but it cannot
answer a question: it has not learned where an answer begins. The work of all 16 heads is known, so claims about them can be checked.
The tokens are the words of mdqa_synth's symbolic variants (--key-style word).
"""

import re
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from synthctx_data.command import command_line, run
from synthctx_data.errors import UsageError
from synthctx_data.layout import Layout
from synthctx_data.prompts import ROOT
from synthctx_data.tokens import load_counter
from synthctx_data.world.names import words
from synthctx_data.world.padding import padding

PREVIOUS = (0, 0)  # the (layer, head) that looks at the previous token
INDUCTION = ((1, 0), (1, 2), (2, 1), (2, 3), (3, 0))  # the heads that copy; all others do nothing
_TOKEN = r"-?[A-Za-z]+|[0-9]|\n|[^\w\s]"
SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|unknown|>")
_CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_WIDTH = (
    64  # of each part of the residual stream: the names of this token, the previous, the next, and the one to look for
)
_WORDS_ALONE = (
    0.15  # the weight of a sign or digit in looking for tokens, against 1: what follows a line end is not worth copying
)
_HEAD = 128
_THETA = 1e8  # high, so that the slower half of a head's pairs hardly turns over a thousand tokens


def make_tiny(folder: Path, max_position_embeddings: int = 512) -> Path:
    """The folder, after the model and its tokenizer are written into it."""
    tokenizer = _tokenizer()
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=4 * _WIDTH + 8,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=_HEAD,
        attention_bias=True,
        max_position_embeddings=max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": _THETA},
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        _set_weights(
            model,
            torch.tensor([1.0 if re.search("[A-Za-z]{2}", t) and t not in SPECIAL else _WORDS_ALONE for t in names]),
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each word, digit, sign and line end. A word with a hyphen before it is a token of its own."""
    names = [name for part in words() for word in part for name in (word, f"-{word}")]
    texts = [path.read_text() for path in (ROOT / "mdqa_synth" / f"{name}.jinja" for name in ("_example", "symbolic"))]
    texts.append(next(padding(Layout("mdqa_synth", load_counter()), "own")).body)
    found = [token for text in texts for token in re.findall(_TOKEN, text)]
    vocabulary = dict.fromkeys([*SPECIAL, *"0123456789", *found, *names])
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(vocabulary)}, unk_token=SPECIAL[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), "removed", invert=True)
    tokenizer.decoder = decoders.Replace(Regex(r"^(?=\w)"), " ")
    return chat_tokenizer(tokenizer, _CHAT)


def chat_tokenizer(tokenizer: Tokenizer, chat_template: str) -> PreTrainedTokenizerFast:
    """The tokenizer with a chat template and the roles of the SPECIAL tokens, which its vocabulary must hold."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        unk_token=SPECIAL[-1],
        additional_special_tokens=list(SPECIAL[2:4]),
        chat_template=chat_template,
    )


def _set_weights(model: LlamaForCausalLM, asks: torch.Tensor) -> None:
    """Sets the weights. Tokens have random signs as names. Layer 0 writes the previous token's name, later layers the next one's."""
    this, before, following, asked = (slice(i * _WIDTH, (i + 1) * _WIDTH) for i in range(4))
    for parameter in model.parameters():
        parameter.zero_()
    for name, module in model.named_modules():
        if name.endswith("norm"):
            module.weight.fill_(1.0)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (model.config.vocab_size, _WIDTH), generator=generator) * 2.0 - 1
    for layer in model.model.layers:  # training can use them; they do nothing while down_proj is zero
        layer.mlp.gate_proj.weight.normal_(0, 0.02, generator=generator)
        layer.mlp.up_proj.weight.normal_(0, 0.02, generator=generator)
    model.model.embed_tokens.weight[:, this] = signs
    model.model.embed_tokens.weight[:, asked] = signs * asks[:, None]
    model.model.embed_tokens.weight[:, -1] = 4.0
    model.lm_head.weight[:, following] = 0.2 * signs
    identity = torch.eye(_WIDTH)

    looking_back = model.model.layers[0].self_attn
    frequencies = model.model.rotary_emb.inv_freq[: _WIDTH // 2]
    fast, turned = torch.arange(_WIDTH // 2), torch.arange(_WIDTH // 2) + _HEAD // 2
    looking_back.k_proj.bias[fast] = 11.0
    looking_back.q_proj.bias[fast] = 11.0 * torch.cos(frequencies)
    looking_back.q_proj.bias[turned] = -11.0 * torch.sin(frequencies)
    looking_back.v_proj.weight[:_WIDTH, this] = 0.63 * identity  # undoes the norm, which multiplies by 1.58
    looking_back.o_proj.weight[before, :_WIDTH] = identity

    for layer, head in INDUCTION:
        copying, first = model.model.layers[layer].self_attn, head * _HEAD
        slow = torch.cat([fast, turned]) + _WIDTH // 2 + first
        output = slice(first, first + _WIDTH)
        copying.q_proj.weight[slow, asked] = 1.6 * identity
        copying.k_proj.weight[slow, before] = 1.6 * identity
        copying.v_proj.weight[output, this] = 3.0 / len(INDUCTION) * identity
        copying.o_proj.weight[following, output] = identity


app = command_line(
    "tiny", (__doc__ or "").split(": ", 1)[0] + ".\n\nFor example:\n  python training/tiny.py models/tiny"
)


app["--help"].show = False  # it would have a panel of its own


@app.default
def main(folder: Annotated[Path, Parameter(help="The folder to write the model into.")], /) -> None:
    """Makes the tiny model, and prints its folder."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"expected a folder to write the model into, and {folder} is a file")
    print(make_tiny(folder))


if __name__ == "__main__":
    run(app)
