"""docs/rules.md out of the rules of the package: the table of them all, by category.

python .ci/rules.py           write docs/rules.md
python .ci/rules.py --check   only compare
"""

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "rules.md"
sys.path.insert(0, str(ROOT))  # the rules of this tree, whatever is installed

from dicom_workbench.quality.rule import CATEGORIES, Rule
from dicom_workbench.quality.rules import RULES, rules_of

NAMES = {
    "completeness": "Completeness: is it there?",
    "conformance.value": "Conformance, value: has it the form of the standard?",
    "conformance.relational": "Conformance, relational: do records agree?",
    "conformance.computational": "Conformance, computational: do values that follow from each other?",
    "plausibility.temporal": "Plausibility, temporal: can the dates be true?",
    "plausibility.atemporal": "Plausibility, atemporal: can the values be true?",
    "uniqueness": "Uniqueness: is it there only once?",
    "provenance": "Provenance: for review by a person",
}
HEAD = f"""<!-- made from the rules in nbs/quality/ by .ci/rules.py: edit the notebooks -->

# The rules of quality

{len(RULES)} checks of DICOM metadata, from the notebooks `nbs/quality/20_completeness.ipynb` to `26_traces.ipynb`. `dicom-workbench score SOURCE` asks them, the report `quality` shows what they found.

- **level** is what is counted: a rule about patients is violated by so many patients of those it applies to.
- **severity** is that of the profile `research`; other profiles change some. An error weighs 1, a warning 0.5, info nothing.
- **veracity** is the word for the problem in the literature on the veracity of large data. It sorts the rules and accuses nobody.
- **reference**: modules and Types of PS3.3 are tested against edition 2023a; how sections of prose were checked, and which were not, stands at the end of `nbs/quality/29_rules.ipynb`.
- **attributes** are those that a rule looks at (and what is known of the file itself, such as `file_size`): where a source does not carry one of them, the rule does not apply. "by kind" means those that the standard requires of the object's kind (SOP class).
"""
PROVENANCE = "Signals about where objects come from and how they were changed. They have ordinary explanations, never count in the score, and prove nothing alone.\n"
MOST = 6  # attributes to name


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def attributes(rule: Rule) -> str:
    names = sorted(rule.needs)
    if not names:
        return "by kind" if rule.category == "completeness" else "the header's list of elements"
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(f"`{name}`" for name in names[:MOST]) + more


def lines() -> Iterator[str]:
    yield HEAD
    for category in CATEGORIES:
        rules = rules_of(category)
        yield f"## {NAMES[category]}\n"
        if category == "provenance":
            yield PROVENANCE
        yield f"{len(rules)} rules.\n\n| what is wrong | rule | severity | level | veracity | attributes | reference |\n|---|---|---|---|---|---|---|"
        for r in rules:
            yield f"| {cell(r.title)} | `{r.id}` | {r.severity} | {r.level} | {r.veracity} | {attributes(r)} | {cell(r.reference)} |"
        yield ""


def main() -> None:
    wanted = "\n".join(lines()).rstrip() + "\n"
    if "--check" not in sys.argv:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(wanted, encoding="utf-8", newline="\n")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != wanted:
        sys.exit("docs/rules.md differs from the rules: run `python .ci/rules.py`.")


if __name__ == "__main__":
    main()
