"""The `synthctx` command. Each of its commands has a file here, imported only when it is called, so that help is fast."""

import sys

from synthctx_data import __version__
from synthctx_data.command import command_line, run

# By the command's name: the function in the file of that name, and the help.
_COMMANDS = {
    "list": (
        "list_variants",
        """List tasks and variants, and what each needs.

For example:
  synthctx list""",
    ),
    "build": (
        "build",
        """Build variants of tasks as Parquet files that load_dataset opens.

For example:
  synthctx build mdqa_synth symbolic_haystack --max-tokens 4096
  synthctx build mdqa_synth templated_haystack --corpus my_docs/
  synthctx build mdqa_synth musique_synth all --max-tokens 4096

Called again after an interruption, it goes on where it stopped.
"synthctx list" names tasks and variants.""",
    ),
    "plan": (
        "plan",
        """Say what a build will take: time, memory, disk, requests and money.

For example:
  synthctx plan mdqa_synth templated_haystack --max-tokens 131072 --train 100000

Some rows are made and measured, which takes some seconds. The options are those
of the build. If the variant was built before, the last lines say what that took.""",
    ),
    "finish": (
        "finish",
        """Finish variants whose shards were built in parts.

For example, as the array of a cluster's jobs, and after the last of them:
  synthctx build mdqa_synth symbolic_haystack --output big --part 3/16
  synthctx finish mdqa_synth symbolic_haystack --output big

Repeat the options of the build that decide rows, and --output and --shards. The
job that ends last finishes the variant anyway, unless it is stopped.""",
    ),
    "mix": (
        "mix_recipe",
        """Mix variants, built sets and chats into one data set, by a recipe.

For example:
  synthctx mix recipe.yaml
  synthctx mix mdqa_synth/recommended --max-tokens 2048:4,8192:2,32768:1

A recipe is a YAML file with these keys: task, name, train, validation, seed,
tokenizer, order (mixed or short-first), max_tokens (32768, or budgets with the
share of rows that each has: 2048:4,8192:2), and parts. A part has a weight and
one of these: variant (with options and max_tokens), data (PLACE:VARIANT), chat
(a file). docs/mixtures.md says more. Called again after an interruption,
it goes on where it stopped.""",
    ),
    "show": (
        "show",
        """Show one example: its needles coloured, the haystack folded.

For example:
  synthctx show synthctx/mdqa_synth:symbolic_haystack --index 7
  synthctx show synthctx/mdqa_synth:symbolic_haystack --around 3
  synthctx show me/mdqa_synth:symbolic_haystack@v1.0.0 --split validation""",
    ),
    "page": (
        "page",
        """Write a data set as one HTML file, to look through in a browser.

For example:
  synthctx page synthctx/mdqa_synth
  synthctx page synthctx/mdqa_synth:symbolic_haystack --sample 100

The file needs no server and no network. It shows the same example in each
variant side by side, its needles, answers and distractors in colour, faults
and floors; and finds examples by words, hops, depth and tokens.""",
    ),
    "check": (
        "check",
        """Check a data set: leaks, repetitions, depths, budget, spans.

For example:
  synthctx check synthctx/mdqa_synth
  synthctx check me/mdqa_synth:symbolic_haystack@v1.0.0
  synthctx check synthctx/mdqa_synth --json > found.json

The exit code is 1 if there is a fault.""",
    ),
    "export": (
        "export",
        """Write rows in the formats of other tools, as JSON lines.

For example:
  synthctx export synthctx/mdqa_synth:symbolic_haystack train.jsonl
  synthctx export synthctx/mdqa_synth:symbolic_haystack train.jsonl --format axolotl

openai: messages, as for fine-tuning at OpenAI. sharegpt: conversations.
alpaca: instruction and output. text: one text, by a tokenizer's chat template.
The same set gives the same bytes each time.""",
    ),
    "push": (
        "push",
        """Put variants on the Hugging Face Hub, where load_dataset finds them.

For example:
  synthctx push synthctx/mdqa_synth:symbolic_haystack --repo me/mdqa_synth
  synthctx push big/mdqa_synth --repo me/mdqa_synth_128k \\
      --from-variant symbolic_haystack --max-tokens 131072

Each variant goes in one commit, with its part of the card. What is there
already is not sent again. Then the whole gets a version: a tag such as v1.0.0,
and a section in CHANGELOG.md. Called again after an interruption, the command
goes on where it stopped.

The token is the one of "hf auth login", or HF_TOKEN. HF_ENDPOINT names another
Hub.""",
    ),
    "answers": (
        "app",
        """List, export and import the answers of language models.

For example:
  synthctx answers list synthctx/answers.sqlite
  synthctx answers export synthctx/answers.sqlite answers.jsonl""",
    ),
}

app = command_line(
    "synthctx",
    """Synthetic long-context data sets: list, build, show, check and publish them.

"synthctx --version --verbose" prints what a report of a fault should name.

For example:
  synthctx build mdqa_synth symbolic_haystack --max-tokens 4096
  synthctx show synthctx/mdqa_synth:symbolic_haystack""",
    version=f"synthctx {__version__}",
)
for order, (name, (function, text)) in enumerate(_COMMANDS.items()):
    app.command(f"builders.commands.{name}:{function}", name=name, help=text, sort_key=order)
app.register_install_completion_command(help="Install completion for your shell, by its tab key.")


def main() -> None:
    """Runs the command line. An error is one line on standard error, and exit code 2 (usage) or 1."""
    arguments = sys.argv[1:]
    if sorted(arguments) == ["--verbose", "--version"]:
        from builders.versions import versions

        print(versions())
        return
    if arguments[:1] == ["push"]:  # in earlier versions, a -- stood before its options of a build
        arguments = [word for word in arguments if word != "--"]
    run(app, arguments)
