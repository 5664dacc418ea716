"""One HTML report of an experiment: python analysis/report.py FOLDERS..."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from synthctx_data.command import command_line, out, run
from synthctx_data.errors import UsageError
from synthctx_data.pages import require_page

_HELP = """\
Writes one HTML report of an experiment, for a browser.

For example:
  python analysis/report.py evaluations heads knockout patch comparison
  python analysis/report.py experiments/real_model/run --output real.html
"""
_NOTES = """\
All finished results in and below the folders are shown: the scores of
training/evaluate.py with their intervals; the heads of analysis/detect.py as
a map, whose cells name head, score and interval; F1 against recall of heads
(analysis/compare.py); knockout and patching with their controls; rows on which
models differ; and what each run was made from.

The file needs no network. Every figure can be had from it as SVG and as data.
"""
app = command_line("report", _HELP, _NOTES)
app.usage = "Usage: python analysis/report.py FOLDERS... [OPTIONS]"
app["--help"].show = False


@app.default
def main(
    *folders: Annotated[Path, Parameter(help="Folders of results, or folders that hold some.")],
    output: Annotated[Path, Parameter(help="The file.")] = Path("report.html"),
    title: Annotated[str, Parameter(help="The title.")] = "Report of an experiment",
) -> None:
    """Writes the report."""
    if not folders:
        raise UsageError("FOLDERS: expected folders of results, got none")
    require_page(output, "report.html")
    from analysis.reporting.collect import collect
    from analysis.reporting.write import write_report

    out.print(f"{write_report(collect(folders), output, title)}: open it in a browser", soft_wrap=True)


if __name__ == "__main__":
    run(app)
