"""The style sheet of the report: for light and dark, narrow and wide screens."""

# Okabe and Ito's palette, which colour-blind people can distinguish.
PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
    "#f0e442",
    "#8c8c8c",
)

_SHEET = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff;
  --card: #f6f8fa; --line: #d0d7de; --error: #b42318; --warning: #8a5a00; --fine: #1a7f37;
  --bar: #4c78a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa4af; --paper: #0f1216;
  --card: #181d23; --line: #333b45; --error: #ff8a7a; --warning: #f0b64c; --fine: #56d364;
  --bar: #7aa6d6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .25rem 0; }
code, .path { font: .86em/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.verdict { font-weight: 600; }
.error { color: var(--error); } .warning { color: var(--warning); } .fine { color: var(--fine); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .75rem 1rem; margin: .75rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 7rem; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--line); }
.swatch { display: inline-block; width: .75em; height: .75em; border-radius: 2px;
  margin-right: .4em; }
ul { margin: .5rem 0; padding-left: 1.1rem; }
li { margin: .2rem 0; }
.charts { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
.charts svg { width: 100%; height: auto; display: block; }
.charts rect { fill: var(--bar); } .charts text { fill: var(--soft); font: 11px system-ui; }
.pictures { display: grid; gap: .75rem; margin: .75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); }
figure { margin: 0; min-width: 0; }
figure svg { width: 100%; height: auto; display: block; border-radius: 4px; background: #000; }
figure rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
figcaption { font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; align-items: start; }
.pair figcaption { grid-column: 1 / -1; }
.lost { display: grid; place-items: center; aspect-ratio: 4/3; border: 1px dashed var(--line);
  border-radius: 4px; color: var(--soft); font-size: .85rem; text-align: center; padding: .5rem; }
summary { cursor: pointer; }
"""


def style_sheet() -> str:
    """The whole sheet, with a colour for each class."""
    colours = [
        f".c{index} {{ stroke: {colour}; background: {colour}; }}"
        for index, colour in enumerate(PALETTE)
    ]
    return _SHEET + "\n".join(colours)
