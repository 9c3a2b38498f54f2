# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""report.html: everything in one file, which needs no network."""

from __future__ import annotations

import base64
import dataclasses
import html

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --faint: #5c5c5c; --paper: #fdfdfb;
  --line: #d9d9d4; --card: #ffffff; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e9e9e4; --faint: #a9a9a2;
  --paper: #17181a; --line: #3a3b3e; --card: #202124; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 54rem; padding: 1.2rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem;
  border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
figure { margin: 1.4rem 0; }
/* Pictures are drawn on white, in the dark, too. */
figure img { width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; padding: .4rem; }
/* On a phone a picture is moved sideways rather than read by a lens. */
@media screen { figure img { min-width: 36rem; } }
figcaption, p.says { font-size: .92rem; margin: .5rem 0; }
.origin { color: var(--faint); font-size: .8rem; overflow-wrap: anywhere; margin: .2rem 0; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
code span { display: inline-block; max-width: 100%; }
.wide { overflow-x: auto; }
table { border: solid var(--line); border-width: 1px 0 0 1px; border-spacing: 0;
  font-size: .82rem; background: var(--card); }
th, td { border: solid var(--line); border-width: 0 1px 1px 0; padding: .25rem .5rem;
  text-align: left; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { font-weight: 600; white-space: normal; vertical-align: bottom; }
:is(th, td):not(:first-child) { text-align: right; }
/* Of a table that is moved sideways every row keeps its name. */
:is(th, td):first-child { position: sticky; left: 0; background: var(--card); }
nav ul, ul.missing { padding-left: 1.2rem; }
a { color: inherit; }
@media print { body { max-width: none; padding: 0; background: none; font-size: 11pt; }
  h2 { break-after: avoid; } figure { break-inside: avoid; }
  .wide { overflow: visible; } table { font-size: 6.5pt; }
  td { white-space: normal; padding: .15rem .25rem; } }
"""


@dataclasses.dataclass
class Page:
    """The body of a report, a section at a time."""

    title: str
    intro: str

    def __post_init__(self):
        self._body: list[str] = []
        self._sections: list[str] = []

    def section(self, title: str) -> None:
        self._sections.append(title)
        at = len(self._sections)
        self._body.append(f'<h2 id="s{at}">{html.escape(title)}</h2>')

    def picture(self, svg: bytes, says: str, origin: str, command: str) -> None:
        data = base64.b64encode(svg).decode()
        self._body.append(
            f'<figure><div class="wide"><img alt="{html.escape(says, quote=True)}" '
            f'src="data:image/svg+xml;base64,{data}"></div>'
            f"<figcaption>{_text(says)}</figcaption>"
            f"{_origin(origin, command)}</figure>"
        )

    def table(self, table, origin: str, command: str) -> None:
        head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{_text(c)}</td>" for c in row) + "</tr>"
            for row in table.rows
        )
        self._body.append(
            f"<figure><h3>{html.escape(table.title)}</h3>"
            f'<p class="says">{_text(table.says)}</p>'
            f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{_origin(origin, command)}</figure>"
        )

    def missing(self, commands: dict[str, str]) -> None:
        items = "".join(
            f"<li>{html.escape(title)}: <code>{html.escape(command)}</code></li>"
            for title, command in commands.items()
        )
        self._body.append(f'<ul class="missing">{items}</ul>')

    def text(self) -> str:
        links = "".join(
            f'<li><a href="#s{i}">{html.escape(title)}</a></li>'
            for i, title in enumerate(self._sections, 1)
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head>\n"
            f"<body><h1>{html.escape(self.title)}</h1><p>{html.escape(self.intro)}</p>"
            f"<nav><ul>{links}</ul></nav>\n"
            + "\n".join(self._body)
            + "\n</body></html>\n"
        )


def _text(said: str) -> str:
    """Without a line that begins with the sign of a percentage."""
    return html.escape(said).replace(" %", "&nbsp;%")


def _origin(origin: str, command: str) -> str:
    # Lines break between words, not after the hyphens of an option.
    words = " ".join(f"<span>{html.escape(word)}</span>" for word in command.split())
    return f'<p class="origin">{html.escape(origin)}<br><code>{words}</code></p>'
