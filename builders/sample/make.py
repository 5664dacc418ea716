"""Makes the sample: `make.py ask FILE` writes the requests that it has no answer to, `make.py take FILE` adds answers to them.

Both files are JSON lines: a request has `unit` and `messages`, an answer `unit` and `text`. Asked and taken in turn, since some requests
follow from answers, until nothing is asked any more.
"""

import json
import sys
from pathlib import Path
from typing import Any

from builders import TASKS
from builders.examples import Examples
from builders.sample import MAX_TOKENS, MODEL, ROOT, SIZES, load_sample
from synthctx_data.answers import Answer, Request, export
from synthctx_data.options import Options
from synthctx_data.writing import Draft, Editor, Pass


def drafts(task: str) -> tuple[Editor, list[Draft[Any]]]:
    """The units of a task's sample, as far as there are answers, and what judged them."""
    train, validation = SIZES[task]
    options = Options(max_tokens=MAX_TOKENS, train=train, validation=validation)
    expression: Any = Examples(TASKS[task], "llm_haystack", options).expression
    editor = Editor(MODEL)
    return editor, list(Pass(editor, load_sample()).drafts(expression.units()))


def main(step: str, file: Path) -> None:
    """Does one step."""
    requests: dict[str, Request] = {}
    for task in TASKS:
        editor, found = drafts(task)
        requests |= {draft.request.unit: draft.request for draft in found if draft.request}
        print(f"{task}: accepted {dict(editor.accepted)}, rejected {dict(editor.rejected)}")
    if step == "ask":
        lines = [{"unit": unit, "messages": list(request.body["messages"])} for unit, request in requests.items()]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        print(f"{len(lines)} requests in {file}")
        return
    answers = dict(load_sample())
    for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
        request = requests.get(line["unit"])
        if request:
            answers[request.key] = Answer(
                request.key, request.template, request.unit, line["text"], "stop", MODEL, MODEL, MODEL, 0, 0, 0.0
            )
    export(sorted(answers.values(), key=lambda answer: (answer.unit, answer.key)), ROOT / "answers.jsonl")
    print(f"{len(answers)} answers")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
