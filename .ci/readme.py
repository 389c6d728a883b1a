"""README.md out of nbs/index.ipynb (nbdev's own command needs Quarto and a network).

python .ci/readme.py             write README.md
python .ci/readme.py --check     only compare
python .ci/readme.py --test-line print the quick start's line that runs the tests (.ci/run types it)
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
NOTE = "<!-- made from nbs/index.ipynb by .ci/readme.py: edit the notebook -->\n\n"


def text_outputs(cell: dict) -> str:
    """What a code cell printed or showed as plain text; pictures and HTML stay in the notebook."""
    streams = ("".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in cell["outputs"])
    return "".join(text.rstrip() + "\n" for text in streams if text)


def markdown(notebook: Path) -> str:
    """Markdown cells as they are, code cells as fenced blocks; `#| hide` cells are dropped."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if re.search(r"^#\| *hide\b", source, re.MULTILINE) or not source.strip():
            continue
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append("```python\n" + re.sub(r"^#\|.*\n", "", source, flags=re.MULTILINE) + "\n```")
            if output := text_outputs(cell):
                parts.append("```\n" + output + "```")
    # the notebook lies one folder deeper than the README
    return NOTE + "\n\n".join(parts).replace("](../", "](").rstrip() + "\n"


def test_line() -> str:
    """The one line of the README that installs and runs the tests."""
    return re.search(r"^.*-m pytest.*$", README.read_text(encoding="utf-8"), re.MULTILINE)[0]


def main() -> None:
    if "--test-line" in sys.argv:
        print(test_line())
        return
    wanted = markdown(ROOT / "nbs" / "index.ipynb")
    if "--check" not in sys.argv:
        README.write_text(wanted, encoding="utf-8", newline="\n")
    elif not README.exists() or README.read_text(encoding="utf-8") != wanted:
        sys.exit("README.md differs from nbs/index.ipynb: edit the notebook, then run `python .ci/readme.py`.")


if __name__ == "__main__":
    main()
