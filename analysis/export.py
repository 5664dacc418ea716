"""Writes heads for other tools: python analysis/export.py --heads heads/smollm2 --format duoattention --output duo"""

from pathlib import Path

from analysis.heads import HeadScores
from analysis.options import ExportOptions
from synthctx_data.command import out, run, script
from synthctx_data.errors import UsageError
from synthctx_data.files import write_json, write_text
from training.chosen_heads import RANKING

_HELP = """\
Writes the scores of heads as other tools read them.

For example:
  python analysis/export.py --heads heads/smollm2 --format duoattention --output duo
  python analysis/export.py --heads atlas:smollm2-135m --format ranking \\
      --output ranked
"""
_NOTES = """\
Formats:
  duoattention  full_attention_heads.tsv and config.json: for each layer and
                KV head a number from 0 to 1, the highest score of the heads
                that share it, as a share of the highest of all. DuoAttention
                and kvpress keep the whole cache for the highest, and for the
                others only the first and the last tokens (--sink-size,
                --recent-size).
  retmask       head_scores.json: the scores of each head on all rows, on one
                line, as RetMask and the code of Wu et al. read them
  ranking       heads.json, which training/finetune.py --heads reads. Only an
                entry of the atlas needs this: analysis/detect.py writes it

docs/retrieval_heads.md shows each of them in use.
"""


def main(options: ExportOptions, _: str) -> None:
    """Writes heads for another tool, and names the files."""
    files = export_heads(options)
    out.print(f"{options.output}: {', '.join(file.name for file in files)}", soft_wrap=True)


def export_heads(options: ExportOptions) -> list[Path]:
    """The files, after they are written into the folder `output`.

    Raises: DatasetError if there are no scores; UsageError if none of them is above 0, where a format ranks by scores from 0 to 1.
    """
    heads, folder = HeadScores.load(options.heads), Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    if options.format == "duoattention":
        return _duoattention(heads, options, folder)
    file = folder / ("head_scores.json" if options.format == "retmask" else RANKING)
    if options.format == "retmask":
        write_text(file, heads.by_head_line())
    else:
        write_json(file, heads.ranking())
    return [file]


def _duoattention(heads: HeadScores, options: ExportOptions, folder: Path) -> list[Path]:
    scores = heads.by_kv_head()
    highest = max(map(max, scores))
    if highest <= 0:
        raise UsageError(f"--heads: expected heads with scores above 0, and {options.heads} has none")
    table, config = folder / "full_attention_heads.tsv", folder / "config.json"
    lines = ("\t".join(repr(max(score, 0.0) / highest) for score in layer) for layer in scores)
    write_text(table, "\n".join(lines) + "\n")
    write_json(config, {"sink_size": options.sink_size, "recent_size": options.recent_size})
    return [table, config]


app = script("export", ExportOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
