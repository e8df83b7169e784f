"""The site: every page that README.md leads to, and the API pages that pdoc makes of the docstrings.

`python docs/build.py [FOLDER]` writes `site/` (or FOLDER), from this checkout alone: nothing is fetched, neither here nor
by the pages. A FOLDER that this program made is emptied first; any other that is not empty is refused.

A page stands where its source stands, so that a link that holds in the repository holds in the site; what a page shows or
links to (a figure, an example) is copied beside it. Code that names a public name links to its API page.
"""

import importlib
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pdoc
import pygments
import pygments.lexers
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments.formatters import HtmlFormatter

import homotopy

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {f"homotopy.{folder}": names for folder, names in homotopy._PUBLIC.items()}
# Where everything that the module offers is public.
OPEN = ("homotopy.problem.datasets", "homotopy.hypotheses", "homotopy.viz", "homotopy.run")
PLACES = {name: f"{folder.replace('.', '/')}.html#{name}" for folder, names in FOLDERS.items() for name in names}
PLACES["datasets"] = "homotopy/problem/datasets.html"
# In every folder that this program made, and may empty.
MARK = ".made-by-docs-build"


def build(out: Path) -> None:
    """Write the whole site to `out`, which is emptied first."""
    empty(out)
    pdoc.render.configure(docformat="markdown", show_source=False, template_directory=ROOT / "docs" / "template")
    pdoc.render.env.filters["to_html"] = lambda text: _MARKDOWN.render(_fenced(text))
    modules = api_modules()
    for name, module in modules.items():
        html = _cited(pdoc.render.html_module(module, modules), "../" * name.count("."))
        _write(out / f"{name.replace('.', '/')}.html", html)
    _write(out / "search.js", pdoc.render.search_index(modules))
    _write(out / "homotopy.html", _page("homotopy.html", *_html("homotopy.html", api_index(), [])))
    waiting, done = ["README.md"], set()
    while waiting:
        source = waiting.pop()
        done.add(source)
        linked: list[str] = []
        target = _target(source)
        _write(out / target, _page(target, *_html(source, (ROOT / source).read_text(encoding="utf-8"), linked)))
        for path in filter(lambda path: (ROOT / path).is_file(), linked):
            if path.endswith(".md"):
                waiting += [path] if path not in done and path not in waiting else []
            elif not (out / path).exists():
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, out / path)


def empty(out: Path) -> None:
    """Make `out` an empty folder with the mark; `SystemExit` where that would remove what this program did not make."""
    found = out.resolve()
    if found == ROOT or found in ROOT.parents:
        raise SystemExit(f"{out} holds this repository; name a folder of its own")
    if ROOT in found.parents and _tracked(found):
        raise SystemExit(f"{out} holds files that git tracks; name another folder")
    if found.exists() and not found.is_dir():
        raise SystemExit(f"{out} is a file; name a folder")
    if found.exists() and any(found.iterdir()) and not (found / MARK).is_file():
        raise SystemExit(
            f"{out} is not empty and was not made by docs/build.py; empty it yourself or name another folder"
        )
    if found.exists():
        shutil.rmtree(found)
    _write(found / MARK, "")


def _tracked(folder: Path) -> bool:
    """Whether git tracks files in a folder of this checkout; False where there is no git to ask."""
    if not shutil.which("git"):
        return False
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--", folder], capture_output=True, check=False)
    return bool(listed.stdout)


def api_modules() -> dict[str, pdoc.doc.Module]:
    """The documented modules by name, each with exactly the names that it offers."""
    modules = {}
    for name in dict.fromkeys((*FOLDERS, *OPEN)):
        module = importlib.import_module(name)
        offered = [key for key in vars(module) if not key.startswith("_")] if name in OPEN else FOLDERS[name]
        own = [key for key in offered if _belongs(vars(module)[key], name)]
        module.__all__ = list(getattr(module, "__all__", own)) if name in OPEN else own
        modules[name] = pdoc.doc.Module(module)
    return modules


def _belongs(value: Any, name: str) -> bool:
    """Whether a module offers `value` as its own: neither a module, nor imported from another folder."""
    home = getattr(value, "__module__", None) or name
    return not isinstance(value, ModuleType) and (home == name or home.startswith(f"{name}."))


def api_index() -> str:
    """Every public name with the first line of its docstring, in Markdown."""
    lines = ["# The public names", "", "All of these are importable from `homotopy`."]
    for folder, names in FOLDERS.items():
        lines += ["", f"## {folder}", "", f"{importlib.import_module(folder).__doc__}", ""]
        lines += [f"* `{name}`: {_first_line(getattr(homotopy, name))}" for name in names]
    lines += ["", "Also: " + ", ".join(f"[{name}]({name.replace('.', '/')}.html)" for name in OPEN) + "."]
    return "\n".join(lines)


def _first_line(value: Any) -> str:
    return (value.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def slug(heading: str, taken: set[str]) -> str:
    """The anchor that GitHub gives a heading."""
    base = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    found = next(name for k in range(99) if (name := f"{base}-{k}" if k else base) not in taken)
    taken.add(found)
    return found


def _html(source: str, text: str, linked: list[str]) -> tuple[str, str, list[tuple[str, str]]]:
    """Title, HTML and headings of a page; the files of the repository that it links to are added to `linked`."""
    tokens, taken, headings = _MARKDOWN.parse(text), set[str](), []
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            anchor = slug(words, taken)
            before.attrSet("id", anchor)
            headings += [(anchor, words)] if before.tag == "h2" else []
            title = words if before.tag == "h1" else None
            headings = [("", title), *headings] if title else headings
    for token in _inline(tokens):
        name = {"link_open": "href", "image": "src"}.get(token.type)
        if name and not re.match(r"[a-z]+:|#", where := str(token.attrs[name])):
            path, _, anchor = where.partition("#")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
            if not path.endswith(".html"):
                linked.append(path)
            token.attrs[name] = _relative(_target(path), _target(source)) + (f"#{anchor}" if anchor else "")
    title = headings[0][1] if headings and not headings[0][0] else source
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {"page": _target(source)})
    return title, html, [pair for pair in headings if pair[0]]


def _cited(html: str, up: str) -> str:
    """ "mathematics §7" in a docstring leads to that section."""
    text = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    anchors = {found[2]: slug(found[1], set()) for found in re.finditer(r"(?m)^## ((\d+)\. .*)$", text)}
    page = f"{up}docs/mathematics.html"
    return re.sub(r"mathematics §(\d+)", lambda found: f'<a href="{page}#{anchors[found[1]]}">{found[0]}</a>', html)


def _inline(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _inline(token.children or [])


def _target(source: str) -> str:
    return "index.html" if source == "README.md" else re.sub(r"\.md$", ".html", source)


def _relative(path: str, page: str) -> str:
    return posixpath.relpath(path, posixpath.dirname(page) or ".")


def _page(target: str, title: str, html: str, headings: list[tuple[str, str]]) -> str:
    up = "../" * target.count("/")
    return pdoc.render.env.get_template("page.html.jinja2").render(title=title, html=html, headings=headings, up=up)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _fenced(text: str) -> str:
    """A docstring whose interactive examples are code: in Markdown `>>>` would be a quotation."""
    return re.sub(r"(?m)^>>> .*(?:\n(?!\s*$).*)*", lambda found: f"```pycon\n{found[0]}\n```", text)


def _fence(renderer: Any, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    lexer = pygments.lexers.get_lexer_by_name((token.info.split() or ["text"])[0])
    return pygments.highlight(token.content, lexer, HtmlFormatter(cssclass="pdoc-code codehilite"))


def _code(renderer: Any, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    """`search(…)` in a page leads to the API page of `search`."""
    token = tokens[index]
    html = renderer.code_inline(tokens, index, options, env)
    name = re.match(r"(?:homotopy\.)?(\w+)(?=\(|$)", token.content)
    inside_link = sum({"link_open": 1, "link_close": -1}.get(other.type, 0) for other in tokens[:index])
    if not name or name[1] not in PLACES or inside_link or "page" not in env:
        return html
    return f'<a href="{_relative(PLACES[name[1]], env["page"])}">{html}</a>'


# CommonMark, in which the star of θ*₋ is a star. pdoc's own Markdown takes two of them for emphasis.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_MARKDOWN.validateLink = lambda url: bool(re.match(r"https?:|#|[^:]*\.\w+(#|$)", url))  # 1_[0,τ](t) links to nothing
_MARKDOWN.add_render_rule("fence", _fence)
_MARKDOWN.add_render_rule("code_inline", _code)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site")
