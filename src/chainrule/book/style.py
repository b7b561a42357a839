"""How the book looks, beyond what all pages share: equations, code, verdicts, more colours."""

from chainrule.report.style import STYLE

__all__ = ["BOOK_STYLE"]

BOOK_STYLE = (
    STYLE
    + """
:root{--third:#1a7f4b;--fourth:#8544b8;--fifth:#c2256b;--good:#1a7f4b;--bad:#b3261e;--open:#8a5a00}
@media (prefers-color-scheme:dark){:root{--third:#5fcf94;--fourth:#c79bf2;--fifth:#ff86b4;--good:#5fcf94;
--bad:#ff8a80;--open:#e3b341}}
main{max-width:800px}
html{scroll-padding-top:12px}
h2{margin-top:3em}
h2 .chapter{color:var(--muted);font-weight:400;font-size:.85rem;float:right}
a{color:var(--accent)}
nav ol{columns:2;padding-left:1.6em;font-size:.95rem}
@media (max-width:560px){nav ol{columns:1}.more{display:none}}
code{font:.88em ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere}
.equation{display:flex;align-items:center;gap:12px;overflow-x:auto;overflow-y:hidden;
margin:.8em 0;padding:.3em 0}
.equation math{flex:1;font-size:1.12rem}
.equation .tag{color:var(--muted);flex:none}
details{margin:.8em 0;border:1px solid var(--grid);border-radius:4px}
summary{cursor:pointer;padding:.35em .7em;font-size:.9rem;overflow-wrap:anywhere}
pre{margin:0;padding:.7em;overflow-x:auto;font:12.5px/1.45 ui-monospace,"DejaVu Sans Mono",Menlo,monospace;
background:var(--cell)}
pre .k,pre .kn,pre .ow,pre .kc{color:var(--fourth)}pre .c1{color:var(--muted);font-style:italic}
pre .s1,pre .s2,pre .sd,pre .sa,pre .si{color:var(--third)}pre .mi,pre .mf{color:var(--second)}
pre .nf,pre .nc{color:var(--accent)}
.caption{color:var(--muted);font-size:.85rem;margin:.3em 0 1em}
figure.wide{max-width:100%;width:100%;flex-basis:100%}
.check,.claim{border-left:4px solid var(--axis);padding:.1em 0 .1em .8em;margin:1em 0}
.check{font-size:.92rem}
.claim p{margin:.25em 0}
.claim dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em .8em;margin:.3em 0;font-size:.92rem}
.claim dt{color:var(--muted)}.claim dd{margin:0;overflow-wrap:anywhere}
.holds{border-color:var(--good)}.fails{border-color:var(--bad)}.depends{border-color:var(--open)}
.word{font-weight:600}.holds .word,.word.holds{color:var(--good)}.fails .word,.word.fails{color:var(--bad)}
.depends .word,.word.depends{color:var(--open)}
svg .third{fill:var(--third)}svg .fourth{fill:var(--fourth)}svg .fifth{fill:var(--fifth)}
svg .ink{fill:var(--ink)}svg .paper{fill:var(--paper)}
svg .stroke{fill:none}
svg .third.stroke{stroke:var(--third)}svg .fourth.stroke{stroke:var(--fourth)}
svg .fifth.stroke{stroke:var(--fifth)}svg .ink.stroke{stroke:var(--ink)}svg .muted.stroke{stroke:var(--muted)}
svg .dash{stroke-dasharray:5 3}
svg .height{fill:var(--ink);fill-opacity:.055;stroke:var(--axis);stroke-width:.5;stroke-opacity:.5;
fill-rule:evenodd}
@media print{nav{break-after:page}details:not([open])>pre{display:block}a{color:inherit;text-decoration:none}
h2 .chapter{float:none;margin-left:1em}pre{white-space:pre-wrap}}
""".rstrip()
)
