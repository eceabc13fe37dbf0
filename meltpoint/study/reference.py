"""Generated pages: the study's schema and reference, and the tables of methods and evaluations.

``python -m meltpoint.study.reference`` writes them, ``--check`` only says which are out of date.
"""

import argparse
import ast
import inspect
import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from meltpoint import evaluations, figures, methods
from meltpoint.chain import Bits
from meltpoint.figures.spec import FigureSpec
from meltpoint.study.config import StudyConfig
from meltpoint.study.config_readme import configuration_page

ROOT = Path(__file__).parents[2]
HEADER = (
    "<!-- Written by `python -m meltpoint.study.reference`: edit "
    "meltpoint/study/config.py instead. -->"
)
EVALUATIONS = """\
An evaluation is a named measurement of each checkpoint. It gives one or more scores, which are all
in one cell. Sweeps, tables and figures name a score as `evaluation.score`, such as
`wikitext2-2048.bits_per_byte`. `evaluation` alone means its main score: the first one, unless
`main` names another. [The protocol](protocol.md) says how each number is computed. [Adding an
evaluation](adding-an-evaluation.md) takes one file."""
METHODS = """\
Each method is one file in `meltpoint/methods/`, and this page is written from those files. The last
column of the table says what computes a method. If it names only packages, they do the whole work,
and Meltpoint decodes and checks what they stored. If it names a file of Meltpoint, that file
follows the paper and the official code. [The protocol](protocol.md#what-was-verified-where) says
which numbers were compared with official ones."""


def pages() -> dict[Path, str]:
    """Contents of all generated files, by their paths."""
    schema = StudyConfig.model_json_schema()
    readme, table = ROOT / "README.md", methods_table("docs/methods.md", "meltpoint/methods")
    return {
        ROOT / "resources/study.schema.json": json.dumps(schema, indent=1) + "\n",
        ROOT / "docs/config.md": config_page(schema),
        ROOT / "config/README.md": configuration_page(schema, HEADER),
        ROOT / "docs/methods.md": methods_page(),
        ROOT / "docs/evaluations.md": evaluations_page(),
        readme: between(readme.read_text(), "methods", table),
    }


def config_page(schema: dict) -> str:
    """The config reference: a table of keys for each section of a study."""
    definitions = schema.pop("$defs")
    top = {**schema, "title": "A study"}
    parts = [HEADER, "# The config reference", _section(top, "##")]
    for key in ("models", "corpora", "calibrations", "evaluations", "sweeps", "chains", "tables",
                "figures", "parameter_search", "compute"):  # fmt: skip
        found = [definitions[name] for name in _referenced(schema["properties"][key])]
        parts.append(f"## `{key}`")
        if key == "figures":
            parts += [kinds_table(), _section(shared_keys(), "###")]
        for part in found:
            parts.append(_section(part, "###"))
            for name in _referenced(part["properties"]):
                parts.append(_section(definitions[name], "####"))
    schema["$defs"] = definitions
    return "\n\n".join(parts) + "\n"


def kinds_table() -> str:
    """The table of the kinds of figure, from their files."""
    rows = [f"| `{name}` | {_gist(kind)} |" for name, kind in figures.registry().items()]
    return "\n".join(["| `kind` | what it shows |", "| --- | --- |", *rows])


def shared_keys() -> dict:
    """The keys that every kind of figure has, as a part of the schema."""
    return {**FigureSpec.model_json_schema(), "title": "Keys of every figure"}


def _section(part: dict, level: str) -> str:
    """A part's heading, description and table of keys.

    A kind of figure is listed without the keys of every figure, which have a section of their own.
    """
    kind = part["properties"].get("kind", {}).get("const")
    heading = f"`kind: {kind}`" if kind else _words(part["title"].removesuffix("Section"))
    paragraphs = inspect.cleandoc(part.get("description", "")).split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    rows = [
        f"| `{key}` | {_type(field)} | {_default(key, field, part)} | {field.get('description', '')} |"
        for key, field in _needed_first(part)
        if not kind or key not in FigureSpec.model_fields
    ]
    table = "\n".join(
        ["| key | value | default | what it is |", "| --- | --- | --- | --- |", *rows]
    )
    return f"{level} {heading}\n\n{text}\n\n{table}"


def _words(name: str) -> str:
    """Words of a class's name: "Hub corpus" for "HubCorpus"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def _referenced(value: object) -> list[str]:
    """Names of the definitions that a part of the schema points to, in order."""
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


def methods_table(page: str, folder: str) -> str:
    """Table of the methods in Markdown.

    page: the page to which the names link. folder: the folder of the methods' files.
    """
    rows = [
        f"| [`{name}`]({page}#{name}) | {method.kind} | {_levels(method)} | {_gist(method)} "
        f"| {_computed_by(method, folder)} |"
        for name, method in methods.registry().items()
    ]
    head = [
        "| method | kind | levels | what it does | computed by |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows])


def _computed_by(method: methods.Method, folder: str) -> str:
    """Packages that do the whole work, or the method's own file and the packages that help it."""
    packages = [f"`{name}`" for name in method.libraries]
    own = [f"[`{method.name}.py`]({folder}/{method.name}.py)"] if method.is_blockwise else []
    return ", ".join([*own, *packages])


def _levels(method: methods.Method) -> str:
    widths = f"{method.widths} bits" if method.bits else ""
    words = (widths if level is Bits else level.word for level in method.levels)
    return ", ".join(words) or "none"


def _gist(method: methods.Method | figures.Kind) -> str:
    return method.summary.split(": ", 1)[-1]


def methods_page() -> str:
    """The page of methods: each with its file's docstring, its facts and its settings."""
    header = HEADER.replace("meltpoint/study/config.py", "meltpoint/methods/")
    parts = [header, "# The methods", METHODS, methods_table("", "../meltpoint/methods")]
    for name, method in methods.registry().items():
        parts += [f"## {name}", inspect.cleandoc(method.module.__doc__), _facts(method)]
        if table := settings_table(method.settings_class):
            parts.append(table)
    return (
        "\n\n".join([*parts, "## allocation", _docstring("compression/sparsity_allocation")]) + "\n"
    )


def settings_table(settings: type[BaseModel], head: str = "setting") -> str:
    """A table of settings with their defaults and descriptions; "" for a class without settings."""
    schema = settings.model_json_schema()
    rows = [
        f"| `{key}` | {_type(field)} | {_default(key, field, schema)} | {field['description']} |"
        for key, field in _needed_first(schema)
    ]
    heads = [f"| {head} | value | default | what it is |", "| --- | --- | --- | --- |"]
    return "\n".join([*heads, *rows]) if rows else ""


def _needed_first(schema: dict) -> list[tuple[str, dict]]:
    """The schema's properties: those without a default first, and `main`, a key of all kinds, last."""
    needed, properties = schema.get("required", []), schema.get("properties", {})
    return sorted(properties.items(), key=lambda item: (item[0] not in needed, item[0] == "main"))


def evaluations_page() -> str:
    """The page of evaluations: each kind with its file's docstring, its keys and its scores."""
    kinds = evaluations.registry()
    parts = [HEADER.replace("study/config.py", "evaluations/"), "# The evaluations", EVALUATIONS]
    rows = [
        f"| [`{name}`](#{name}) | {kind.summary.split(': ', 1)[-1]} | {_in_a_study(kind)} |"
        for name, kind in kinds.items()
    ]
    head = ["| kind | what it measures | in a study |", "| --- | --- | --- |"]
    parts.append("\n".join([*head, *rows]))
    for name, kind in kinds.items():
        parts += [f"## {name}", inspect.cleandoc(kind.module.__doc__)]
        parts += [settings_table(kind.settings_class, "key"), scores_table(kind)]
    return "\n\n".join(parts) + "\n"


def scores_table(kind: evaluations.Evaluation) -> str:
    """Table of a kind's scores, the main score first."""
    rows = [
        f"| `{spec.name}` | {spec.label} | {spec.unit} | {spec.better} |"
        for spec in kind.scores(kind.example).values()
    ]
    head = ["| score | in tables and figures | unit | better |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _in_a_study(kind: evaluations.Evaluation) -> str:
    return f"`{{{', '.join(f'{key}: {value}' for key, value in kind.module.example.items())}}}`"


def _facts(method: methods.Method) -> str:
    """A table of one row with the facts that a user of a method needs before running it."""
    packages = ", ".join(f"`{name}`" for name in method.libraries) or "none of its own"
    facts = {
        "kind": method.kind,
        "levels": _levels(method),
        "changes weights that it keeps": _yes(method.facts.updates_weights),
        "rescales norms": _yes(method.facts.rescales_norms),
        "needs regular shapes": _yes(method.facts.needs_regular_shapes),
        "uses gradients": _yes(method.needs_gradients),
        "a killed job goes on": _yes(method.is_blockwise or method.facts.resumes),
        "environment": f"`{method.env}`",
        "packages": packages,
    }
    rows = (list(facts), ["---"] * len(facts), list(facts.values()))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _docstring(module: str) -> str:
    """A module's docstring, read without importing the module."""
    return ast.get_docstring(ast.parse((ROOT / f"meltpoint/{module}.py").read_text()))


def between(text: str, mark: str, content: str) -> str:
    """The text with new content between ``<!-- mark -->`` and ``<!-- /mark -->``."""
    pattern = rf"(<!-- {mark}.*? -->\n).*?(\n<!-- /{mark} -->)"
    return re.sub(pattern, lambda m: m[1] + content + m[2], text, flags=re.S)


def main(check: bool) -> int:
    """Prints the names of pages that are out of date, and writes them unless `check` is true.

    Returns an exit status: 1 if `check` found such a page.
    """
    stale = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
        if not check:
            path.write_text(pages()[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m meltpoint.study.reference")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, name what is out of date"
    )
    sys.exit(main(parser.parse_args().check))
