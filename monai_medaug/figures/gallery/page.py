"""The gallery's page: HTML that needs no other file, script or font."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from monai_medaug.version import __version__


@dataclass(frozen=True)
class GalleryRow:
    """One transform on the page: its picture, and the text around it."""

    name: str
    summary: str
    png: bytes
    call: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GallerySection:
    """A heading, a description of the image, a note where the image is missing, and the rows."""

    title: str
    text: str
    missing: str
    rows: tuple[GalleryRow, ...]


_STYLE = """
:root { color-scheme: dark; }
* { box-sizing: border-box; }
body { margin: 0; background: #14171c; color: #d7dce2; font: 16px/1.55 system-ui, sans-serif; }
main, header, footer { max-width: 1720px; margin: 0 auto; padding: 0 1.2rem; }
header { padding-top: 2rem; }
h1, h2, h3 { color: #f2f4f7; line-height: 1.25; font-weight: 600; }
h2 { margin-top: 3rem; border-bottom: 1px solid #2c323b; padding-bottom: .3rem; }
h3 { margin: 2.4rem 0 .3rem; }
p { max-width: 52rem; margin: .4rem 0; }
a { color: #8cc4f0; }
nav ul { list-style: none; padding: 0; margin: .2rem 0 .8rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
.scroll { overflow-x: auto; margin: .7rem 0; }
.scroll img { display: block; width: 100%; min-width: 1150px; height: auto; }
code { font: .86em/1.5 ui-monospace, monospace; color: #b9d7a8; overflow-wrap: anywhere; }
pre { margin: .4rem 0; white-space: pre-wrap; }
.small { color: #98a2ae; font-size: .88rem; }
.note { background: #2a2416; border-left: 3px solid #d9a441; padding: .5rem .8rem; }
footer { padding: 2rem 1.2rem 3rem; }
"""
_INTRODUCTION = (
    "Every transform of the package on a real image of its modality: the original, three magnitudes, and what the last "
    "of them changed.",
    "A random transform shows the draw of seed 0 from the ranges in the call below it: in full, and eased to two "
    "thirds and to one third, as `PreservingCompose` eases a draw that would harm anatomy. Where the default ranges "
    "show little at this size, the call has stronger ones. Where nothing can be eased, three settings, or the draws of "
    "seeds 0, 1 and 2, stand side by side. The figures under each picture are those that the transform recorded. "
    "Denoisers have a section of their own, and are shown with the noise that they should remove.",
)


def gallery_page(sections: Sequence[GallerySection]) -> str:
    """The whole page, pictures included.

    Example:
        >>> gallery_page([GallerySection("CT", "A head", "", ())]).splitlines()[0]
        '<!DOCTYPE html>'
    """
    contents, body = [], []
    for number, section in enumerate(sections):
        links = "".join(f'<li><a href="#{row.name}">{row.name}</a></li>' for row in section.rows)
        contents.append(f'<a href="#section-{number}">{html.escape(section.title)}</a><ul>{links}</ul>')
        body.append(f'<section id="section-{number}"><h2>{html.escape(section.title)}</h2>')
        body += [f'<p class="small">{html.escape(section.text)}</p>'] if section.text else []
        body += [f'<p class="note">{html.escape(section.missing)}</p>'] if section.missing else []
        body += [_gallery_article(row) for row in section.rows]
        body.append("</section>")
    introduction = "".join(f"<p>{_with_code(text)}</p>" for text in _INTRODUCTION)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>monai_medaug: gallery of transforms</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>What the transforms do</h1>{introduction}<nav>{''.join(contents)}</nav></header>\n"
        f"<main>{''.join(body)}</main>\n"
        f'<footer class="small">monai_medaug {html.escape(__version__)}</footer>\n</body>\n</html>\n'
    )


def _gallery_article(row: GalleryRow) -> str:
    picture = base64.b64encode(row.png).decode("ascii")
    return (
        f'<article id="{row.name}"><h3>{row.name}</h3><p>{_with_code(row.summary)}</p>'
        f'<div class="scroll"><img alt="{row.name}: original, results and their difference" '
        f'src="data:image/png;base64,{picture}"></div><pre><code>{html.escape(row.call)}</code></pre>'
        + "".join(f'<p class="small">{_with_code(note)}</p>' for note in row.notes)
        + "</article>\n"
    )


def _with_code(text: str) -> str:
    return re.sub(r"`+(.+?)`+", r"<code>\1</code>", html.escape(text))
