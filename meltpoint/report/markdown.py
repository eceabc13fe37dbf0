"""Markdown as HTML, by markdown-it-py: CommonMark with tables, for text that Meltpoint has written.

Of raw HTML only the tags u, sup, sub and br are kept; everything else is escaped.
"""

import re
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from meltpoint.report.html_table import CLOSE, OPEN, are_numbers, attributes

TAGS = re.compile(r"</?(?:u|sup|sub)>|<br>")
# A report's own headings come below the title of the item that holds it.
DEEPER, DEEPEST = 3, 6


def inline(text: str) -> str:
    """HTML of a line with inline markup."""
    return READER.renderInline(text)


def plain(text: str) -> str:
    """A line without its markup and its raised letters, which is the value of a table's cell."""
    return "".join(_text(token.children or []) for token in READER.parseInline(text)).strip()


def html(text: str) -> str:
    """HTML of a document."""
    tokens = READER.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(DEEPEST, int(token.tag[1:]) + DEEPER)}"
    starts = [i for i, token in enumerate(tokens) if token.type == "table_open"]
    ends = [i for i, token in enumerate(tokens) if token.type == "table_close"]
    for start, end in zip(starts, ends, strict=True):
        _describe_cells(tokens[start:end])
    return READER.renderer.render(tokens, READER.options, {})


def _describe_cells(table: Sequence[Token]) -> None:
    """Gives the cells of a table the attributes that the page sorts and lays out by."""
    rows: list[list[tuple[Token, str]]] = []
    for token, content in pairwise(table):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append((token, _text(content.children or []).strip()))
    for head, *cells in zip(*rows, strict=True):
        right = head[0].attrGet("style") is not None or are_numbers(text for _, text in cells)
        head[0].attrs = {"scope": "col"} | ({"class": "r"} if right else {})
        for token, text in cells:
            token.attrs = attributes(text, right)


def _text(tokens: Sequence[Token]) -> str:
    """Text of inline tokens, without raised letters."""
    words, raised = [], False
    for token in tokens:
        if token.content in ("<sup>", "</sup>"):
            raised = token.content == "<sup>"
        elif not raised and not TAGS.fullmatch(token.content):
            words.append("\n" if token.type == "softbreak" else token.content)
    return "".join(words)


def _raw_html(_renderer, tokens: Sequence[Token], index: int, _options, _env) -> str:
    """A known tag unchanged, any other tag escaped."""
    text = tokens[index].content
    return text if TAGS.fullmatch(text) else escape(text, quote=False)


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"xhtmlOut": False}).enable("table").disable("html_block")
    reader.add_render_rule("html_inline", _raw_html)
    reader.add_render_rule("table_open", lambda *_: OPEN)
    reader.add_render_rule("table_close", lambda *_: CLOSE)
    return reader


READER = _reader()
