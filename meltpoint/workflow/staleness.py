"""The code on which a result depends: its modules and their imports, found in the source.

A module's code is compared without its comments, its docstrings and its layout.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from meltpoint.hashing import hash_text
from meltpoint.workflow.code_cache import CodeCache

# Modules and packages that cannot change a number, each with the reason. What they import does not
# count either.
NEUTRAL = {
    "meltpoint.errors": "holds the texts of errors",
    "meltpoint.resources": "says what a job asks of its machine",
    "meltpoint.progress": "draws progress bars on standard error",
    "meltpoint.timing": "times the phases of a job for its log",
    "meltpoint.validation": "holds the texts of errors",
    "meltpoint.study.model_sections": "reads a study, whose values are in the job spec",
    "meltpoint.study.sections": "reads a study, whose values are in the job spec",
    "meltpoint.workflow": "starts a job and hands it its job spec",
}

# What a run compares. The other triggers of Snakemake would take a comment in a script, or the flag
# --use-conda, for a change of a result.
TRIGGERS = ("mtime", "params", "input")

ROOT = Path(__file__).parents[2]


@cache
def warn(triggers: frozenset) -> None:
    """Prints, once a run, a sentence on triggers that differ from what results depend on."""
    known = {str(trigger) for trigger in triggers}
    others = sorted(known - set(TRIGGERS))
    if missing := [trigger for trigger in TRIGGERS if trigger not in known]:
        print(
            f"Warning: this run does not look at the trigger {' and '.join(missing)}, so results of "
            "other settings, code or files may stand as if they were of this study: leave out "
            f"--rerun-triggers, or add `rerun-triggers: [{', '.join(TRIGGERS)}]` to its profile",
            file=sys.stderr,
        )
    if others:
        print(
            f"Warning: this run also remakes results for the trigger {' and '.join(others)}, although "
            f"none would differ: add `rerun-triggers: [{', '.join(TRIGGERS)}]` to its profile",
            file=sys.stderr,
        )


@cache
def code_hash(*modules: str, without: tuple[str, ...] = ()) -> str:
    """Hash of the code of modules and of all of Meltpoint's modules that they import.

    A script counts as a module: `scripts.table`. Modules in `without` are left out.
    """
    found = closure(*modules, without=without)
    parts = (f"{name} {_found_in(name, source_of(name))[1]}" for name in found)
    code = hash_text("\n".join(parts))[:16]
    _cache().save()
    return code


@cache
def closure(*modules: str, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The modules and all of Meltpoint's modules that they import, sorted by name.

    Imports inside functions count, and so do the packages around a module. `NEUTRAL` modules and
    those in `without` are left out, with what only they import. Files that a registry loads by a name
    put together at run time are not found: whoever knows which one is loaded names it in `modules`.
    """
    left_out = (*NEUTRAL, *without)
    found: set[str] = set()
    ahead = list(modules)
    while ahead:
        name = ahead.pop()
        if name not in found and not within(name, left_out):
            found.add(name)
            ahead += _imports_of(name)
    return tuple(sorted(found))


def within(name: str, packages: Iterable[str]) -> bool:
    """True for a module that is one of these modules, or in one of these packages."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def path_of(module: str) -> Path | None:
    """File of a module or script of Meltpoint, found without importing it; None for any other name."""
    if module.partition(".")[0] not in ("meltpoint", "scripts"):
        return None
    path = ROOT.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def source_of(module: str) -> str:
    """Source text of a module."""
    return path_of(module).read_text()


def _imports_of(module: str) -> tuple[str, ...]:
    """Meltpoint's modules that a module imports by statement or names in a string."""
    names, _ = _found_in(module, source_of(module))
    around = {parent for name in {*names, module} for parent in _packages(name)}
    return tuple(sorted(name for name in {*names} | around if path_of(name)))


@cache
def _cache() -> CodeCache:
    """What earlier runs in this folder have found: parsing all modules takes a second or two."""
    return CodeCache(Path(".snakemake/meltpoint_code.json"), Path(__file__).read_text())


@cache
def _found_in(module: str, source: str) -> tuple[list[str], str]:
    """Names in a module's source that may be modules, and the hash of its code."""
    place = f"{path_of(module).name} of {module}"
    found = _cache().get(place, source)
    if found is None:
        found = _names_in(module, source), _code_in(source)
        _cache().put(place, source, *found)
    return found


def _names_in(module: str, source: str) -> list[str]:
    tree = _WithoutAnnotations().visit(ast.parse(source))
    return sorted({name for node in ast.walk(tree) for name in _named(node, module)})


class _WithoutAnnotations(ast.NodeTransformer):
    """Drops imports for annotations alone: they are under `if TYPE_CHECKING`, and never run."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """None for such a block."""
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def _named(node: ast.AST, module: str) -> Iterator[str]:
    """Names that may be modules: of import statements, and strings, which importlib may be given."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = _absolute(node, module)
        yield from (source, *(f"{source}.{alias.name}" for alias in node.names))
    elif isinstance(node, ast.Constant) and str(node.value).startswith("meltpoint."):
        yield node.value


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """Name of the module that a statement imports from; relative ones are counted from `module`."""
    if not node.level:
        return node.module
    is_package = path_of(module).name == "__init__.py"
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _packages(name: str) -> list[str]:
    """The packages around a module, without `meltpoint` itself, which holds nothing."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(2, len(parts))]


@cache
def _code_in(source: str) -> str:
    """Hash of the code in a source text."""
    return hash_text(repr(_normal(ast.parse(source))))


def _normal(value: object) -> object:
    """Form of a syntax tree without docstrings, places in the file and empty fields.

    All Python versions share it: fields that a later version adds are empty in code of an earlier one.
    """
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if not isinstance(value, ast.AST):
        return value
    fields = {key: field for key, field in ast.iter_fields(value) if field not in (None, [])}
    if isinstance(value, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = _without_docstring(value.body)
    return type(value).__name__, [(key, _normal(field)) for key, field in fields.items()]


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_text else body
