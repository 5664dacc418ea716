"""The maker of the sample: `ask FILE` writes the requests that lack an answer; `take FILE` adds answers and drops unused ones.

Both files are JSON lines: a request has `key`, `unit` and `messages`, an answer has `key`, `unit` and `text`. Some requests follow from
answers: ask and take in turn until nothing is asked any more. (python -m builders.writing.sample.make)
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders import TASKS
from builders.examples import Examples
from builders.writing.requests import Editor, Pass
from builders.writing.sample import MAX_TOKENS, SAMPLE_FOLDER, SAMPLE_MODEL, SIZES, load_sample
from builders.writing.store import Answer, Request, export
from synthctx_data.options import Options


class Used(dict[str, Answer]):
    """The answers that were looked up and found."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        super().__init__()
        self._answers = answers

    def get(self, key: str, default: Any = None) -> Any:
        """The answer to a request, which counts as used."""
        if key in self._answers:
            self[key] = self._answers[key]
        return self._answers.get(key, default)


def missing(task: str, name: str, answers: Used) -> dict[str, Request]:
    """The requests of a sample that have no answer, by the key of the request."""
    train, validation = SIZES[task, name]
    options = Options(max_tokens=MAX_TOKENS, train=train, validation=validation)
    expression: Any = Examples(TASKS[task], f"{name}_haystack", options).expression
    editor = Editor(SAMPLE_MODEL)
    one = Pass(editor, answers)
    found = [draft.request for draft in one.drafts(expression.units()) if draft.request]
    print(
        f"{task} {name}: accepted {dict(editor.accepted)}, rejected {dict(editor.rejected)}, given up {editor.given_up}"
    )
    return {request.key: request for request in found}


def main(step: str, file: Path) -> None:
    """Does one step, "ask" or "take"."""
    used = Used(load_sample())
    requests: dict[str, Request] = {}
    for task, name in SIZES:
        requests |= missing(task, name, used)
    if step == "ask":
        lines = [
            {"key": key, "unit": request.unit, "messages": list(request.body["messages"])}
            for key, request in requests.items()
        ]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        print(f"{len(lines)} requests in {file}")
        return
    answers = dict(used)
    of_unit = {request.unit: request for request in requests.values()}  # for answers to requests that were changed
    for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
        if request := requests.get(line["key"]) or of_unit.get(line["unit"]):
            key, template, unit = request.key, request.template, request.unit
            answers[key] = Answer(
                key, template, unit, line["text"], "stop", SAMPLE_MODEL, SAMPLE_MODEL, SAMPLE_MODEL, 0, 0, 0.0
            )
    export(sorted(answers.values(), key=lambda answer: (answer.unit, answer.key)), SAMPLE_FOLDER / "answers.jsonl")
    print(f"{len(answers)} answers")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
