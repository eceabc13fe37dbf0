"""The Markdown that Meltpoint itself writes, as HTML: what reports and tables use, nothing more.

Headings, paragraphs, lists, fenced code, pipe tables; code, bold, emphasis by stars, links, and the
tags u, sup, sub and br. All else is text and is escaped.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape, unescape
from itertools import groupby, zip_longest

from meltpoint.report.html_table import Grid, are_numbers, to_html

INLINE = re.compile(
    r"\\(?P<escaped>[\\|*_<>`\[\]#])"
    r"|`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|\*(?P<em>[^*\s](?:[^*]*[^*\s])?)\*"
    r"|\[(?P<words>[^\]]+)\]\((?P<link>https?://[^\s)]+|[\w./#-]+)\)"
    r"|(?P<tag></?(?:u|sup|sub)>|<br>)"
    r"|(?P<entity>&(?:lt|gt|amp|quot|nbsp);)"
    r"|(?P<hard>\s{2,}\n)"
)
PIPE = re.compile(r"(?<!\\)\|")
RULE = re.compile(r"\s*\|?[\s:|-]*-[\s:|-]*\|?\s*")
BULLET = re.compile(r"\s*(?:[-*+]|(?P<number>\d+)[.)])\s+(?P<text>.*)")
HEADING = re.compile(r"(#{1,6})\s+(.*)")
# A report's own headings stand below the title of the item that holds it.
DEEPER = 3


def inline(text: str) -> str:
    """A line's markup as HTML."""
    parts, end = [], 0
    for found in INLINE.finditer(text):
        parts += [escape(text[end : found.start()], quote=False), _replace(found)]
        end = found.end()
    return "".join([*parts, escape(text[end:], quote=False)])


def _replace(found: re.Match) -> str:
    kind, text = found.lastgroup, found[found.lastgroup]
    match kind:
        case "escaped":
            return escape(text)
        case "code":
            return f"<code>{escape(text, quote=False)}</code>"
        case "bold":
            return f"<strong>{inline(text)}</strong>"
        case "em":
            return f"<em>{inline(text)}</em>"
        case "link":
            return f'<a href="{escape(text)}">{inline(found["words"])}</a>'
        case "hard":
            return "<br>"
    return text


def plain(text: str) -> str:
    """A line without its markup and without what is raised: the value that a cell holds."""
    html = re.sub(r"<sup>.*?</sup>", "", inline(text))
    return unescape(re.sub(r"<[^>]+>", "", html)).strip()


def html(text: str) -> str:
    """A document as HTML."""
    return "\n".join(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        readers = (*BLOCKS, _paragraph)
        text, at = next(filter(None, (read(lines, at) for read in readers)))
        yield text


def _blank(lines: list[str], at: int):
    return None if lines[at].strip() else ("", at + 1)


def _code(lines: list[str], at: int):
    if not lines[at].startswith("```"):
        return None
    end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("```")), len(lines))
    code = "\n".join(lines[at + 1 : end])
    return f"<pre>{escape(code, quote=False)}</pre>", end + 1


def _heading(lines: list[str], at: int):
    found = HEADING.match(lines[at])
    if not found:
        return None
    level = min(6, len(found[1]) + DEEPER)
    return f"<h{level}>{inline(found[2])}</h{level}>", at + 1


def _table(lines: list[str], at: int):
    if at + 1 >= len(lines) or "|" not in lines[at] or not RULE.fullmatch(lines[at + 1]):
        return None
    end = _run(lines, at, lambda line: "|" in line)
    heads, rule, *rows = (_cells(line) for line in lines[at:end])
    columns = zip_longest(*([plain(cell) for cell in row] for row in rows), fillvalue="")
    numeric = [*map(are_numbers, columns)] or [False] * len(heads)
    right = [mark.endswith(":") or n for mark, n in zip(rule, numeric, strict=False)]
    return to_html(Grid(heads, rows, right), inline, plain), end


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in PIPE.split(line.strip().removeprefix("|").removesuffix("|"))]


def _list(lines: list[str], at: int):
    first = BULLET.match(lines[at])
    if not first:
        return None
    end = _run(lines, at, str.strip)
    tag = "ol" if first["number"] else "ul"
    items = (f"<li>{inline(text)}</li>" for text in _list_items(lines[at:end]))
    return f"<{tag}>{''.join(items)}</{tag}>", end


def _list_items(lines: Iterable[str]) -> list[str]:
    """Each item's text, its continued lines joined to it."""
    items: list[str] = []
    for line in lines:
        found = BULLET.match(line)
        items += [found["text"]] if found else []
        if not found:
            items[-1] += " " + line.strip()
    return items


def _paragraph(lines: list[str], at: int):
    end = at + 1
    while end < len(lines) and not any(read(lines, end) for read in BLOCKS):
        end += 1
    words = "\n".join(lines[at:end]).strip()
    return f"<p>{inline(words)}</p>", end


# Each gives None where the line begins no such block, else its HTML and the line behind it.
BLOCKS = (_blank, _code, _heading, _table, _list)


def _run(lines: list[str], at: int, belongs) -> int:
    """The end of the run of lines that belong together."""
    key, run = next(groupby(lines[at:], lambda line: bool(belongs(line))))
    return at + len(list(run)) if key else at
