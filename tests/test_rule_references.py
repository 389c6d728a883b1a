"""The sections that rules name: each module of PS3.3 that a reference names holds an attribute that the rule looks at.

The judge is what dicom-validator made of PS3.3, edition 2023a, in shared/; sections of prose are not in it.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword

from dicom_workbench.quality.rules import RULES

SHARED = Path(os.environ.get("DICOM_WORKBENCH_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "quality" / "dicom_validator_2023a"
SECTION = re.compile(r"(?<![\d.])C(?:\.\d+){2,}(?![\d-])")
ELSEWHERE = {  # (rule, section) whose text speaks of what is no attribute of that module
    ("UNQ-SOP-RECODED", "C.7.6.1.1.5"): "what a lossy compression makes of an object",
}


@pytest.fixture(scope="module")
def modules() -> dict[str, dict[str, Any]]:
    if not SHARED.is_dir():
        pytest.skip("needs shared/data/quality: the tables of dicom-validator")
    return json.loads((SHARED / "module_info.json").read_text())


def attributes(modules: dict[str, Any], section: str, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    "(tag, Type) of everything at the top of a module, with what it includes."
    if section in seen or not modules.get(section):
        return
    for tag, about in modules[section].items():
        if tag == "include":
            for other in about:
                yield from attributes(modules, other["ref"], (*seen, section))
        elif about:
            yield tag, about.get("type", "")


def tags(keywords: set[str]) -> set[str]:
    numbers = {int(t) for k in keywords for part in k.split("|")[0].split("_") if (t := tag_for_keyword(part)) is not None}
    return {f"({t >> 16:04X},{t & 0xFFFF:04X})" for t in numbers}


def module_of(section: str, modules: dict[str, Any]) -> str:
    "C.7.6.2.1.1 is a part of the text on C.7.6.2."
    while section and section not in modules:
        section = section.rpartition(".")[0]
    return section


def test_modules_that_references_name_hold_what_the_rule_looks_at(modules: dict[str, Any]) -> None:
    wrong, asked = [], 0
    for rule in RULES:
        if "PS3.3" not in rule.reference:
            continue
        for section in SECTION.findall(rule.reference):
            if not module_of(section, modules):
                continue  # prose only: C.8.16.1
            inside = {tag for tag, _ in attributes(modules, module_of(section, modules))}
            asked += 1
            if not inside & tags({*rule.needs, rule.attribute}) and (rule.id, section) not in ELSEWHERE:
                wrong.append((rule.id, section))
    assert asked > 150
    assert wrong == []


def test_types_that_references_name_are_those_of_the_module(modules: dict[str, Any]) -> None:
    wrong, asked = [], 0
    for rule in RULES:
        told, sections = re.search(r"C\.[\d.]+ \(Type (\w+)\)", rule.reference), SECTION.findall(rule.reference)
        if not told or not rule.attribute:
            continue
        types = {kind for s in sections for tag, kind in attributes(modules, module_of(s, modules)) if tag in tags({rule.attribute})}
        asked += bool(types)
        if types and told[1] not in types:
            wrong.append((rule.id, told[1], types))
    assert asked > 12
    assert wrong == []
