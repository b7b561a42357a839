"""How the report looks: on a phone, on a screen, in the dark, on paper."""

__all__ = ["STYLE"]

STYLE = """
:root{--paper:#fff;--ink:#1c2430;--muted:#5b6675;--grid:#e3e7ec;--axis:#8a94a3;--cell:#f1f3f6;
--accent:#1f5fd0;--second:#b4540a}
@media (prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e6eaf0;--muted:#9aa6b5;--grid:#28303a;
--axis:#6d7887;--cell:#1c232c;--accent:#7aa8ff;--second:#f2a65a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:760px;margin:0 auto;padding:16px}
h1{font-size:1.6rem;line-height:1.2;margin:.5em 0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2em 0 .6em;border-bottom:1px solid var(--grid);padding-bottom:.2em}
p,li{overflow-wrap:anywhere}
.verdict{font-size:1.1rem;border-left:4px solid var(--accent);padding:.2em 0 .2em .8em}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25em .9em .25em 0;border-bottom:1px solid var(--grid);vertical-align:top}
th{color:var(--muted);font-weight:600}
td{max-width:22em;overflow-wrap:break-word}
.number{text-align:right;white-space:nowrap}
.figures{display:flex;flex-wrap:wrap;gap:16px}
figure{margin:.5em 0;flex:1 1 320px;max-width:100%;width:min(100%,364px)}
@media (min-width:700px){figure{max-width:364px}}
figcaption{font-weight:600;font-size:.9rem;margin-bottom:.3em}
svg{width:100%;height:auto;display:block}
svg text{font-size:12px;fill:var(--ink)}
svg .muted{fill:var(--muted)}
svg .small{font-size:9px}
svg .grid{stroke:var(--grid)}
svg .axis{stroke:var(--axis)}
svg .dashed{stroke:var(--axis);stroke-dasharray:4 3}
svg .cell{fill:var(--cell)}
svg .accent{fill:var(--accent)}
svg .second{fill:var(--second)}
svg .stroke{fill:none;stroke-width:1.8;stroke-linejoin:round}
svg .accent.stroke{stroke:var(--accent)}
svg .second.stroke{stroke:var(--second)}
@media print{:root{--paper:#fff;--ink:#000;--muted:#444;--grid:#ccc;--axis:#777;--cell:#f1f3f6;
--accent:#1f5fd0;--second:#b4540a}main{max-width:none}section,figure,tr{break-inside:avoid}
.scroll{overflow:visible}body{font-size:11pt}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
""".strip()
