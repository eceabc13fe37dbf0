"""Generated pages: the study's schema and reference, and the tables of methods.

``python -m meltpoint.study.reference`` writes them, ``--check`` only says which are out of date.
"""

import ast
import inspect
import json
import re
import sys
from pathlib import Path

from meltpoint import methods
from meltpoint.chain import Bits
from meltpoint.study.config import StudyConfig

ROOT = Path(__file__).parents[2]
HEADER = (
    "<!-- Written by `python -m meltpoint.study.reference`: edit "
    "meltpoint/study/config.py instead. -->"
)


def pages() -> dict[Path, str]:
    """Every generated file with what it should contain."""
    schema = StudyConfig.model_json_schema()
    readme = ROOT / "README.md"
    return {
        ROOT / "resources/study.schema.json": json.dumps(schema, indent=1) + "\n",
        ROOT / "docs/config.md": config_page(schema),
        ROOT / "docs/methods.md": methods_page(),
        readme: between(readme.read_text(), "methods", methods_table("docs/methods.md")),
    }


def config_page(schema: dict) -> str:
    """The config reference: a table of keys for each section of a study."""
    definitions = schema.pop("$defs")
    top = {**schema, "title": "A study"}
    parts = [HEADER, "# The config reference", _section(top, "##")]
    for key in ("models", "corpora", "calibrations", "evaluations", "sweeps", "chains", "tables",
                "figures", "compute"):  # fmt: skip
        found = [definitions[name] for name in _referenced(schema["properties"][key])]
        parts.append(f"## `{key}`")
        for part in found:
            parts.append(_section(part, "###"))
            for name in _referenced(part["properties"]):
                parts.append(_section(definitions[name], "####"))
    schema["$defs"] = definitions
    return "\n\n".join(parts) + "\n"


def _section(part: dict, level: str) -> str:
    heading = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part["title"].removesuffix("Section"))
    paragraphs = inspect.cleandoc(part.get("description", "")).split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    rows = [
        f"| `{key}` | {_type(field)} | {_default(key, field, part)} | {field.get('description', '')} |"
        for key, field in part["properties"].items()
    ]
    table = "\n".join(
        ["| key | value | default | what it is |", "| --- | --- | --- | --- |", *rows]
    )
    return f"{level} {heading.capitalize()}\n\n{text}\n\n{table}"


def _referenced(value: object) -> list[str]:
    """The definitions that a part of the schema points to, in order."""
    if isinstance(value, list):
        found = [name for item in value for name in _referenced(item)]
    elif isinstance(value, dict):
        found = [name for key, item in value.items() if key != "discriminator"
                 for name in _referenced(item)]  # fmt: skip
        if "$ref" in value:
            found.insert(0, value["$ref"].rsplit("/", 1)[-1])
    else:
        found = []
    return list(dict.fromkeys(found))


def _type(field: dict) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field or "oneOf" in field:
        options = [_type(f) for f in field.get("anyOf", field.get("oneOf"))]
        return " or ".join(o for o in options if o != "null")
    if "$ref" in field:
        return "section"
    if field.get("type") == "array":
        return "list"
    if field.get("type") == "object":
        return "by name"
    return {"path": "path"}.get(field.get("format"), str(field.get("type", "value")))


def _default(key: str, field: dict, part: dict) -> str:
    if key in part.get("required", []):
        return "needed"
    default = field.get("default")
    return "" if default in (None, "", [], {}) else f"`{json.dumps(default)}`"


def methods_table(page: str) -> str:
    """The table of methods; `page` is where a method's name leads."""
    rows = [
        f"| [`{name}`]({page}#{name}) | {method.kind} | {_levels(method)} | {_gist(method)} |"
        for name, method in methods.registry().items()
    ]
    return "\n".join(
        ["| method | kind | levels | what it does |", "| --- | --- | --- | --- |", *rows]
    )


def _levels(method: methods.Method) -> str:
    widths = f"{method.widths} bits" if method.bits else ""
    words = (widths if level is Bits else level.word for level in method.levels)
    return ", ".join(words) or "none"


def _gist(method: methods.Method) -> str:
    return method.summary.split(": ", 1)[-1]


def methods_page() -> str:
    """Each method with its formula, paper and settings, from its file."""
    parts = [HEADER.replace("config.py", "methods/"), "# The methods"]
    for name, method in methods.registry().items():
        parts += [f"## {name}", inspect.cleandoc(method.module.__doc__)]
        properties = method.settings_class.model_json_schema().get("properties", {})
        rows = [
            f"| `{key}` | {_type(field)} | {_default(key, field, {})} | {field['description']} |"
            for key, field in properties.items()
        ]
        if rows:
            head = ["| setting | value | default | what it is |", "| --- | --- | --- | --- |"]
            parts.append("\n".join([*head, *rows]))
    return (
        "\n\n".join([*parts, "## allocation", _docstring("compression/sparsity_allocation")]) + "\n"
    )


def _docstring(module: str) -> str:
    """A module's docstring, without importing what it imports."""
    return ast.get_docstring(ast.parse((ROOT / f"meltpoint/{module}.py").read_text()))


def between(text: str, mark: str, content: str) -> str:
    """The text with what stands between ``<!-- mark -->`` and ``<!-- /mark -->`` replaced."""
    pattern = rf"(<!-- {mark}.*? -->\n).*?(\n<!-- /{mark} -->)"
    return re.sub(pattern, lambda m: m[1] + content + m[2], text, flags=re.S)


def main(check: bool) -> int:
    stale = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
        if not check:
            path.write_text(pages()[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
