"""The gallery: every figure under `figures/`, with the sentence and the command of its manifest.

`python docs/gallery.py` writes `docs/gallery.md`; a test holds the page against the manifests.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gallery.md"
# What a reader who is new should see first; the others follow by name.
FIRST = ("phase_portraits", "atlas", "homotopy_surface", "deleted_step", "schedule_shootout", "optimal_structure")


def gallery() -> str:
    """The page, in Markdown."""
    lines = [
        "# Gallery",
        "",
        "What the scenarios drew, each with the command that draws it again into `runs/`. Beside every picture lies the",
        "`manifest.json` of its run: settings, seed, versions, hashes, what was found.",
        "The 23 claims are decided in [the report](../figures/hypotheses/report.md).",
    ]
    manifests = {path.parent.name: path for path in sorted((ROOT / "figures").glob("*/manifest.json"))}
    for name in dict.fromkeys((*FIRST, *manifests)):
        run = json.loads(manifests[name].read_text(encoding="utf-8"))
        pictures = sorted(file for file in run["files"] if file.endswith((".png", ".gif")))
        pictures.sort(key=lambda file: Path(file).stem != name)  # the one that bears the scenario's name comes first
        lines += ["", f"## {name}", "", f"{run['description']} `{run['command']}`"]
        for file in pictures:
            lines += ["", f"![{Path(file).stem.replace('_', ' ')}](../figures/{name}/{file})"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(gallery(), encoding="utf-8")
