"""The arguments and options of the `synthctx` command, each with its help."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Version = Annotated[bool, Option("--version", help="Print the version.", is_eager=True)]

# build
Task = Annotated[str, Argument(help="A task, e.g. mdqa_synth.", show_default=False)]
Variants = Annotated[
    list[str], Argument(help="Variants, e.g. symbolic_haystack.", show_default=False, metavar="VARIANT...")
]
MaxTokens = Annotated[
    int, Option(help="Tokens of the whole training sequence, chat template and answer included; 128 to 1048576.")
]
Tokenizer = Annotated[
    str | None,
    Option(
        help="What counts them: a tokenizer.json (with its chat template beside it), its folder, or a Hub id. Default: the bundled one.",
        show_default=False,
    ),
]
Train = Annotated[
    int | None, Option(help="Examples to train on. Default: the paper's, e.g. 1260 for MDQA.", show_default=False)
]
Validation = Annotated[
    int | None, Option(help="Examples to validate on. Default: the paper's, e.g. 140 for MDQA.", show_default=False)
]
Seed = Annotated[int, Option(help="Another seed gives other examples.")]
Depth = Annotated[
    str,
    Option(help="Where needles stand: uniform, or depths from 0 (first) to 1 (last), taken in turn, e.g. 0.0,0.5,1.0."),
]
Corpus = Annotated[
    list[str] | None,
    Option(
        help="Real questions, or documents for the haystack: .json, .jsonl(.gz), .parquet, .txt, .md, a folder, or a Hub id; repeatable.",
        show_default=False,
    ),
]
CorpusTextColumn = Annotated[str, Option(help="The field of a corpus's rows that holds a document's text.")]
Distractors = Annotated[str, Option(help="How real distractors are ranked: bm25, dense or random.")]
DenseModel = Annotated[str, Option(help="The encoder for --distractors dense: a folder or a Hub id.")]
KeyStyle = Annotated[str, Option(help="What symbolic keys and values are: uuid, integer or word.")]
Hops = Annotated[
    str, Option(help="Hops of musique_synth's questions, with weights if not equally many: 2,3,4 or 2:6,3:3,4:1.")
]
InsightWording = Annotated[
    str, Option(help="How the documents of summhay_synth's templated variants word an insight: varied or identical.")
]
Output = Annotated[Path, Option(help="Folder that the data set goes into, as OUTPUT/TASK.")]
Workers = Annotated[
    int | None,
    Option(help="Processes. Any number gives the same rows. Default: one a core.", show_default=False, min=1),
]
Shards = Annotated[
    int | None,
    Option(
        help="Parquet files of each split. Any number gives the same rows. Default: one for 2**24 tokens.",
        show_default=False,
        min=1,
    ),
]
Ray = Annotated[
    str | None,
    Option(help="Build on the Ray cluster of this address, e.g. auto, instead of in processes.", show_default=False),
]

# what a language model writes
Model = Annotated[
    str | None,
    Option(
        help="llm variants: the language model that writes. Default: none; a small sample of answers is built in.",
        show_default=False,
    ),
]
Endpoint = Annotated[
    str | None,
    Option(
        help="llm variants: an OpenAI-compatible API, e.g. http://localhost:8000/v1. Default: $OPENAI_BASE_URL, or else OpenAI's.",
        show_default=False,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    Option(help="llm variants: a file that holds the API's key. Default: $OPENAI_API_KEY.", show_default=False),
]
Store = Annotated[
    Path | None,
    Option(help="llm variants: the file that keeps every answer. Default: OUTPUT/answers.sqlite.", show_default=False),
]
PoolSize = Annotated[
    int | None,
    Option(
        help="llm_haystack: documents that are written once and shared by all haystacks. Default: one for every 64 of --max-tokens.",
        show_default=False,
        min=0,
    ),
]
Estimate = Annotated[
    bool,
    Option(
        "--estimate", help="llm variants: say how many requests and tokens are missing and what they cost, and stop."
    ),
]
Prices = Annotated[
    Path | None,
    Option(
        help="A YAML table of prices, e.g. 'my-model: {input: 0.5, output: 1.5, batch: 0.5}'. Default: a few known ones.",
        show_default=False,
    ),
]
BudgetUsd = Annotated[
    float | None,
    Option(
        help="llm variants: US dollars that this call may not pass, room for the longest answers included.",
        show_default=False,
        min=0,
    ),
]
Concurrency = Annotated[int, Option(help="llm variants: requests at the same time.", min=1, max=10000)]
RequestsPerMinute = Annotated[
    float | None, Option(help="llm variants: not to be passed. Default: no limit.", show_default=False, min=0.001)
]
TokensPerMinute = Annotated[
    float | None,
    Option(
        help="llm variants: of requests, with the longest answers; not to be passed. Default: no limit.",
        show_default=False,
        min=1,
    ),
]
Timeout = Annotated[float, Option(help="llm variants: seconds that an answer may take.", min=0.1)]
Batch = Annotated[
    bool,
    Option("--batch", help="llm variants: use the Batch API: cheaper, within a day; call again after an interruption."),
]

# answers
StoreFile = Annotated[Path, Argument(help="A store of answers, e.g. synthctx/answers.sqlite.", show_default=False)]
ExportFile = Annotated[Path, Argument(help="A file of answers as JSON lines.", show_default=False)]
Unit = Annotated[
    str | None, Option(help="Show the answers for what begins so, e.g. mdqa_synth/train/000007.", show_default=False)
]

# show and check
Folder = Annotated[str, Argument(help="A built folder, e.g. synthctx/mdqa_synth, or a Hub id.", show_default=False)]
Variant = Annotated[str, Argument(help="A variant, e.g. symbolic_haystack.", show_default=False)]
Split = Annotated[str, Option(help="train or validation.")]
Index = Annotated[int, Option(help="Which example of the split.", min=0)]
SomeVariants = Annotated[
    list[str] | None,
    Argument(help="Variants; all of the folder if none is given.", show_default=False, metavar="[VARIANT]..."),
]
Budget = Annotated[
    int | None,
    Option(min=1, help="The budget. Default: what build.json says, else the largest row's tokens.", show_default=False),
]
AskedDepth = Annotated[
    str | None, Option(help="The depths asked for. Default: what build.json says, else uniform.", show_default=False)
]
UsedTokenizer = Annotated[
    str | None,
    Option(
        help="The tokenizer, to count num_tokens again. Default: the bundled one where it was used.",
        show_default=False,
    ),
]

# push
PushedFolder = Annotated[
    Path,
    Argument(
        help="A built folder, e.g. synthctx/mdqa_synth; with --from-variant, OUTPUT/TASK, where shards lie until they are sent.",
        show_default=False,
    ),
]
BuildOptions = Annotated[
    list[str] | None,
    Argument(
        help="With --from-variant: options of synthctx build, behind a --, e.g. -- --max-tokens 131072 --train 100000.",
        show_default=False,
        metavar="-- BUILD_OPTION",
    ),
]
Repo = Annotated[str | None, Option(help="The repository, OWNER/NAME. Default: synthctx/TASK.", show_default=False)]
Config = Annotated[
    list[str] | None, Option(help="A variant to push; repeatable. Default: all of the folder.", show_default=False)
]
Private = Annotated[bool, Option("--private", help="Make the repository private, if it is made now.")]
Branch = Annotated[str, Option(help="The branch to push to; made if it is missing. Versions are tagged on main only.")]
FromVariant = Annotated[
    str | None,
    Option(
        help="Build this variant and push it shard by shard: for sets that are larger than the disk.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, Option("--dry-run", help="Say what would be sent, and send nothing.")]
Force = Annotated[bool, Option("--force", help="Push what synthctx check finds faults in.")]
Revision = Annotated[
    str | None, Option(help="Of a set on the Hub: a tag such as v1.0.0, a branch, or a commit.", show_default=False)
]
