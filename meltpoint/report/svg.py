"""An SVG file as a part of an HTML page."""

import re

# CSS pixels per point of the drawing: half as large again as in print, and the least at which type of
# 7 points can be read. On a narrower screen the drawing scrolls in its box.
SCALE, LEAST = 2.0, 1.0
ROOT = re.compile(r"<svg\b[^>]*>")
SIZE = re.compile(r'\s(?:width|height|role|style)="[^"]*"')
# Matplotlib's style rule for all elements; inside a page it would apply to the whole page.
GLOBAL = re.compile(r"<defs>\s*<style[^>]*>\*\{[^}]*\}</style>\s*</defs>")
LINES = "stroke-linejoin:round;stroke-linecap:butt"
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
IDS = re.compile(r'(\bid="|href="#|url\(#)')


def embed(svg: str, prefix: str, label: str) -> str:
    """The svg element of a file, with a prefix on its ids so that two drawings cannot share one.

    Its width follows from the drawing; a page may make it narrower. label: accessible name, escaped.
    """
    svg = svg[svg.index("<svg") :]
    svg = GLOBAL.sub("", METADATA.sub("", svg))
    width = float(re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', svg)[1])
    style = f"width:{SCALE * width:.0f}px;min-width:{LEAST * width:.0f}px;{LINES}"
    root = SIZE.sub("", ROOT.match(svg)[0]).removesuffix(">")
    root += f' role="img" tabindex="0" aria-label="{label}" style="{style}">'
    svg = root + svg[ROOT.match(svg).end() :]
    return re.sub(r"\n\s+", "\n", IDS.sub(rf"\g<1>{prefix}", svg))
