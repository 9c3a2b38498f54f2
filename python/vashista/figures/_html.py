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
@media (prefers-color-scheme: dark) { :root { --ink: #e9e9e4; --faint: #a9a9a2;
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
figcaption, p.says { font-size: .92rem; margin: .5rem 0; }
.origin { color: var(--faint); font-size: .8rem; overflow-wrap: anywhere; margin: .2rem 0; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; background: var(--card); }
th, td { border: 1px solid var(--line); padding: .25rem .5rem; text-align: left;
  white-space: nowrap; }
th { font-weight: 600; white-space: normal; }
nav ul, ul.missing { padding-left: 1.2rem; }
a { color: inherit; }
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
            f'<figure><img alt="{html.escape(says, quote=True)}" '
            f'src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{html.escape(says)}</figcaption>"
            f"{_origin(origin, command)}</figure>"
        )

    def table(self, table, origin: str, command: str) -> None:
        head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>"
            for row in table.rows
        )
        self._body.append(
            f"<h3>{html.escape(table.title)}</h3>"
            f'<p class="says">{html.escape(table.says)}</p>'
            f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{_origin(origin, command)}"
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


def _origin(origin: str, command: str) -> str:
    return (
        f'<p class="origin">{html.escape(origin)}<br>'
        f"<code>{html.escape(command)}</code></p>"
    )
