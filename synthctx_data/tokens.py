"""Token counts of texts and conversations, under any Hugging Face tokenizer and its chat template."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer

from synthctx_data.errors import TokenizerError, UsageError
from synthctx_data.files import expanded, parse_json
from synthctx_data.hub import read_from
from synthctx_data.limits import try_within_limits

BUNDLED = Path(__file__).resolve().parent / "tokenizer"
_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# What a tokenizer and its chat template may take for a few words.
_PROBE = "A few words, and 12."
_PROBE_SECONDS, _PROBE_MEMORY, _PROBE_CHARACTERS = 10, 2**30, 1_000_000

# What tells a chat template that the model is not to think before it answers, by the names that templates have for it. A synthetic answer
# has no thoughts to train on.
THOUGHTS_OFF = {"enable_thinking": False, "thinking": False}
_ASKED: dict[str, Any] = {"add_generation_prompt": False, **THOUGHTS_OFF}

# The texts before and after a unit while it is counted, unless the caller gives others. In a prompt too, a unit follows a
# line end, and something visible follows it. Many tokenizers treat the very beginning of a text differently, and those like
# GPT-2's treat line ends at the very end differently.
AROUND = (".\n", "D")


class TokenCounter:
    """A counter of the tokens of units of text and of whole conversations.

    A *unit* is a text that begins with a visible character and ends with a line end. If a tokenizer splits at line ends, a
    text made of units has as many tokens as these together. `assemble.py` finds out whether this one does.
    """

    def __init__(self, tokenizer_json: str, config: dict[str, Any], chat_template: str | None) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._around: dict[tuple[str, str], int] = {}  # the tokens of the texts around units
        self._special = {name: _token_text(config[name]) for name in _SPECIAL if config.get(name)}
        # As in transformers, a text that the configuration names as a token is one token, wherever it stands.
        self._tokenizer.add_tokens([_added(entry) for entry in config.get("added_tokens_decoder", {}).values()])
        self._tokenizer.add_special_tokens(list(self._special.values()))
        spelled = [token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special]
        spelled = sorted((token for token in spelled if len(token) > 1), key=len, reverse=True)
        self._special_text = re.compile("|".join(map(re.escape, spelled))) if spelled else None
        self._special_starts = {token[0] for token in spelled}
        self._template = compile_template(chat_template) if chat_template else None
        parts = [tokenizer_json, self._special, config.get("added_tokens_decoder"), chat_template]
        self.identity = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def break_special(self, text: str) -> str:
        """The text with a space behind the first character of every special token that it spells out."""
        if self._special_text is None or self._special_starts.isdisjoint(text):
            return text
        return self._special_text.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def first_special(self, text: str) -> str:
        """The first special token that the text spells out; empty if it spells none."""
        found = self._special_text.search(text) if self._special_text else None
        return found[0] if found else ""

    def unknown(self, text: str) -> float:
        """The share of the text's tokens that the tokenizer does not know."""
        unknown = self._tokenizer.token_to_id(self._special.get("unk_token", "<unk>"))
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids.count(unknown) / max(len(ids), 1) if unknown is not None else 0.0

    def raw(self, text: str) -> int:
        """The number of tokens of a text on its own, without the special tokens that the tokenizer would add."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def unit(self, text: str, around: tuple[str, str] = AROUND) -> int:
        """The number of tokens that a unit adds to the two texts `around` it."""
        return self.units([text], around)[0]

    def units(self, texts: Sequence[str], around: tuple[str, str] = AROUND) -> list[int]:
        """The number of tokens that each unit adds to the two texts `around` it."""
        before, after = around
        known = self._around.get(around)
        if known is None:
            known = self._around[around] = self.raw(before + after)
        encodings = self._tokenizer.encode_batch_fast(
            [before + text + after for text in texts], add_special_tokens=False
        )
        return [len(encoding) - known for encoding in encodings]

    def ends(self, unit: str) -> list[int]:
        """The characters of the unit at which its tokens end, in order."""
        before, after = AROUND
        offsets = self._tokenizer.encode(before + unit + after, add_special_tokens=False).offsets
        ends = [end - len(before) for _, end in offsets]
        return [end for end in ends if 0 < end <= len(unit)]

    def conversation(self, prompt: str, completion: str) -> int:
        """The number of tokens of the training sequence: chat template, user message and answer.

        Without a chat template, the two texts stand on lines of their own, with the special tokens that the tokenizer adds
        and one end token.

        Raises: TokenizerError if the chat template fails.
        """
        text = self.rendered(prompt, completion)
        if self._template is not None:
            return self.raw(text)
        tokens = self._tokenizer.encode(text, add_special_tokens=True).tokens
        return len(tokens) + (tokens[-1:] != [self._special.get("eos_token")])  # which some tokenizers add themselves

    def rendered(self, prompt: str, completion: str) -> str:
        """The text of the training sequence.

        Raises: TokenizerError if the chat template fails.
        """
        if self._template is None:
            return f"{prompt}\n{completion}"
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=False, **THOUGHTS_OFF, **self._special
            )
        except Exception as error:  # a template may raise anything
            raise TokenizerError(
                "the tokenizer's chat template must accept one user and one assistant message, "
                f"and it raised: {str(error) or type(error).__name__}; mend the template or take the tokenizer.json alone"
            ) from error


def load_counter(spec: str | None = None) -> TokenCounter:
    """The counter for a tokenizer.json, a folder that holds one, a Hub id, or (None) the bundled tokenizer.

    The chat template beside a tokenizer.json belongs to it.

    Raises: UsageError if there is no such tokenizer, TokenizerError if it cannot be read.
    """
    if spec is not None and (not spec or "://" in spec):
        raise UsageError(f"--tokenizer: expected a tokenizer.json, a folder that holds one, or a Hub id, got {spec!r}")
    folder_or_file = BUNDLED if spec is None else expanded(spec)
    if folder_or_file.is_file() and folder_or_file.name != _FILES[0]:
        return _from_files({_FILES[0]: folder_or_file})
    if folder_or_file.is_file():
        folder_or_file = folder_or_file.parent
    if folder_or_file.is_dir():
        found = {name: folder_or_file / name for name in _FILES if (folder_or_file / name).is_file()}
        if _FILES[0] not in found:
            raise UsageError(f"--tokenizer: expected tokenizer.json in the folder {folder_or_file}, found none")
        return _from_files(found)
    return _from_files(_download(str(spec)))


def _download(repository: str) -> dict[str, Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    found: dict[str, Path] = {}
    with read_from(
        repository, "--tokenizer: expected a tokenizer.json, a folder that holds one, or a Hub id that can be reached"
    ):
        for name in _FILES:
            try:
                found[name] = Path(hf_hub_download(repository, name))
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError) or name == _FILES[0]:
                    raise
    return found


def _from_files(files: dict[str, Path]) -> TokenCounter:
    path = files[_FILES[0]]
    try:
        text = path.read_text(encoding="utf-8")
        config = parse_json(files[_FILES[1]].read_text(encoding="utf-8")) if _FILES[1] in files else {}
        if not isinstance(config, dict):
            raise ValueError(f"expected {_FILES[1]} to hold an object, got {type(config).__name__}")
        chat = files[_FILES[2]].read_text(encoding="utf-8") if _FILES[2] in files else config.get("chat_template")
    except (OSError, ValueError) as error:
        raise TokenizerError(f"--tokenizer: {path.parent} cannot be read: {error}") from error
    try:
        if isinstance(chat, list):  # several named templates: the default one is for conversations
            chat = next((entry["template"] for entry in chat if entry["name"] == "default"), None)
        if isinstance(chat, str) and path.parent != BUNDLED:
            _require_usable(chat)
        counter = TokenCounter(text, config, chat)
        counter.raw(_PROBE)
        return counter
    except TokenizerError:
        raise
    except Exception as error:  # the library raises the bare Exception, and a configuration may hold anything
        raise TokenizerError(
            f"--tokenizer: expected the tokenizer.json of a fast tokenizer, but {path} and the files beside it do not load: "
            f"{type(error).__name__}: {error}"
        ) from error


def _require_usable(chat_template: str) -> None:
    """Raises: TokenizerError if a chat template takes too much time, memory or text for a few words.

    It is tried in a process of its own: reading a template may take as much as writing with it.
    """

    def written() -> str:
        try:
            text = compile_template(chat_template).render(
                messages=_messages(_PROBE, _PROBE), **_ASKED, **dict.fromkeys(_SPECIAL, "")
            )
        except (TemplateError, TokenizerError, TypeError, KeyError, AttributeError, ValueError):
            return ""  # whatever is wrong with it is said where it is used
        return f"it writes {len(text):,} characters around a few words" if len(text) > _PROBE_CHARACTERS else ""

    if problem := try_within_limits(written, _PROBE_SECONDS, _PROBE_MEMORY):
        raise TokenizerError(f"--tokenizer: expected a chat template that can be used, and it cannot: {problem}")


def _messages(prompt: str, completion: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]


def _token_text(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _added(entry: dict[str, Any]) -> AddedToken:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(entry["content"], **{flag: entry[flag] for flag in flags if flag in entry})


class _Generation(Extension):
    """A Jinja extension that accepts the tag around the assistant's tokens in a chat template, and keeps its content."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Callable[[], str]) -> str:
        return caller()


def compile_template(chat_template: str) -> Template:
    """The chat template in the environment that transformers gives it, but with a fixed date.

    Some templates write today's date. Neither data nor the models that are trained on them must depend on it.
    Source: transformers.utils.chat_template_utils.

    Raises: TokenizerError if it does not compile.
    """

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = datetime(2024, 12, 28).strftime
    try:
        return environment.from_string(chat_template)
    except TemplateError as error:
        raise TokenizerError(f"--tokenizer: the chat template does not compile: {error}") from error
