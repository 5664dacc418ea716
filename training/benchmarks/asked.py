"""The rows of a benchmark as the options of an evaluation ask for them."""

from functools import partial
from typing import Any

from synthctx_data.tokens import BUNDLED
from training.benchmarks.catalog import Benchmark, read_prompts
from training.options import EvaluateOptions


def benchmark_rows(benchmark: Benchmark, options: EvaluateOptions) -> list[dict[str, Any]]:
    """The rows of a benchmark that the options ask for. Their answers have as many tokens as the options say, or else their own number."""
    prompts = read_prompts(options.prompts)
    if options.haystack_tokens:
        rows = benchmark.nolima_rows(prompts, options.limit, options.haystack_tokens, partial(_tokenizer, options))
    else:
        rows = benchmark.rows(prompts, options.limit, options.longest)
    given = {"answer_tokens": options.max_new_tokens} if "max_new_tokens" in options.changed() else {}
    return [{**row, **given} for row in rows]


def _tokenizer(options: EvaluateOptions) -> Any:
    """The tokenizer of the model here; of a model behind an endpoint, the one that data sets are counted with."""
    from training.model import load_tokenizer_of
    from training.turns import load_tokenizer

    return load_tokenizer(str(BUNDLED)) if options.endpoint else load_tokenizer_of(options)
