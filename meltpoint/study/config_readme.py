"""The page config/README.md, which the catalog of Snakemake workflows shows: how to write a study."""

import inspect

from meltpoint.text import first_sentence

INTRO = """\
# How to configure Meltpoint

One YAML file, the study, says everything: models, texts, measurements, what to sweep and what to show.
Without one, `snakemake --cores 8` runs the default study in `config.yaml`, which explains each key
above it. For a study of your own, write a file and name it: `snakemake --cores 8 --configfile
studies/mine.yaml`. Its paths are relative to the file itself. A wrong key or value is refused before
anything runs, in a sentence that names it. As a module of another workflow, Meltpoint takes the study
as its `config`.

A complete study:

```yaml
{example}```

It writes `results/mine/report.html`, and beside it every cell, table, figure and transition point.
[The config reference](../docs/config.md) has every key with its default.
`studies/` has larger studies."""

EXAMPLE = """\
study: mine
models:
  base: {path: ../models/base}
corpora:
  text: {path: text.txt}
calibrations:
  default: {corpus: text, samples: 64, length: 512}
evaluations:
  text-512: {perplexity: text, window: 512}
sweeps:
  pruning: {models: [base], methods: [wanda], levels: [0.3, 0.5, "2:4"], evaluations: [text-512]}
tables:
  pruning: {source: pruning, value: text-512, error: true}
figures:
  pruning: {source: pruning, value: text-512, fit: transition}
"""


def configuration_page(schema: dict, header: str) -> str:
    """Text of config/README.md from the study's JSON schema; `header` is its first line."""
    definitions, properties = schema["$defs"], schema["properties"]
    parts = [header, INTRO.format(example=EXAMPLE), "## The sections of a study"]
    parts += [_section(key, properties[key], schema, definitions) for key in properties]
    return "\n\n".join(parts) + "\n"


def _section(key: str, field: dict, schema: dict, definitions: dict) -> str:
    needed = "It is needed." if key in schema["required"] else "It may be left out."
    text = field["description"][0].upper() + field["description"][1:].rstrip(".")
    forms = [definitions[name] for name in _references(field) if "description" in definitions[name]]
    lines = [f"**`{key}`**: {text}. {needed}", *(f"- {_form(form)}" for form in forms)]
    return "\n".join(lines)


def _references(value: object) -> list[str]:
    """Names of the definitions to which a part of the schema refers, in order."""
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    if not isinstance(value, dict):
        return []
    here = [value["$ref"].rsplit("/", 1)[-1]] if "$ref" in value else []
    inner = (
        item for key, item in value.items() if key not in ("$ref", "discriminator", "propertyNames")
    )
    return list(dict.fromkeys([*here, *(name for item in inner for name in _references(item))]))


def _form(definition: dict) -> str:
    """Sentences on one form of a section: its needed keys and kind, its gist, its layouts."""
    properties = definition.get("properties", {})
    values = {key: properties[key].get("const", "...") for key in definition.get("required", [])}
    if "const" in (kind := properties.get("kind", {})):
        values["kind"] = kind["const"]
    keys = ", ".join(f"{key}: {value}" for key, value in values.items())
    gist = first_sentence(inspect.cleandoc(definition["description"]))
    layouts = properties.get("layout", {}).get("enum", [])
    others = (
        f" Its `layout` is one of {', '.join(f'`{each}`' for each in layouts)}." if layouts else ""
    )
    return f"`{{{keys or '...'}}}`: {gist.rstrip('.')}.{others}"
