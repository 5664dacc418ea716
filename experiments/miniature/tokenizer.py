"""The tokenizer of the miniature. A word or a fixed phrase of the prompt is one token; place names and numbers are pieces."""

import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from experiments.miniature.passages import every_name, sayings, worlds
from synthctx_data.layout import Layout
from synthctx_data.prompts import ROOT
from synthctx_data.tokens import load_counter
from synthctx_data.world.names import words
from synthctx_data.world.padding import padding
from training.tiny import SPECIAL, chat_tokenizer

_WORD = r"[A-Za-z]+(?:-[A-Za-z]+)*|[0-9]+|\n|[^\w\s]"
PHRASES = (
    "Read the numbered documents below. One of them answers the question that follows; the others do not.\n\n",
    "Document [",
    "]\n",
    "\n\n",
    "\nAnswer with a short phrase, taken from the documents word for word.",
    "Question:",
)
_CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that knows every word of every variant."""
    whole, inner = _pieces()
    known = dict.fromkeys([*SPECIAL, *"0123456789", *whole, *inner])
    unknown = _unknown(known, every_name())
    vocabulary = {token: i for i, token in enumerate([*known, *unknown])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    return chat_tokenizer(tokenizer, _CHAT)


def _pieces() -> tuple[list[str], list[str]]:
    """The whole words and beginnings of words, and the pieces that continue them."""
    places = [entity for world in worlds() for entity in world.entities if entity.kind == "place"]
    whole = [entity.parts[0] for entity in places]
    inner = [f"##{digit}" for digit in "0123456789"] + [f"##{entity.parts[1]}" for entity in places]
    for plain in (word for part in words() for word in part):
        whole.append(plain)
        inner.append(f"##-{plain}")
    names = set(every_name()) - {entity.name for entity in places}
    texts = [*sorted(names), *sayings(), next(padding(Layout("mdqa_synth", load_counter()), "own")).body]
    for template in ("_example", "symbolic", "templated"):
        source = (ROOT / "mdqa_synth" / f"{template}.jinja").read_text()
        texts.append(re.sub(r"\{([#%{]).*?[#%}]\}", " ", source, flags=re.S))
    whole += (word for text in texts for word in re.findall(_WORD, text) if not word.isdigit())
    return whole, inner


def _unknown(known: dict[str, None], texts: list[str]) -> list[str]:
    """The words that the known tokens cannot spell. They are few, so each becomes a token."""
    pieces = Tokenizer(models.WordPiece({token: i for i, token in enumerate(known)}, unk_token=SPECIAL[-1]))
    found = dict.fromkeys(word for text in texts for word in re.findall(_WORD, text))
    return [word for word in found if SPECIAL[-1] in pieces.encode(word).tokens]
