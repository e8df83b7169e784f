"""What the documents say is true: sections exist, links lead somewhere, calls are calls, code runs, figures are shown."""

import ast
import importlib.util
import inspect
import io
import re
import subprocess
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import homotopy.run

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [ROOT / "README.md", CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(f"_documents_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_section_that_the_code_names_exists():
    text = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\d+)\.", text, re.MULTILINE))
    assert sections == {str(k) for k in range(1, len(sections) + 1)}
    named = {
        (path.relative_to(ROOT), found)
        for folder in ("homotopy", "scenarios", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for found in re.findall(r"mathematics §(\d+)", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert not {place for place in named if place[1] not in sections}


# The site ---------------------------------------------------------------------------------------------------------------


class _Links(HTMLParser):
    """Where a page of the site leads to, and the anchors that it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.fetched = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors += [given["id"]] if given.get("id") else []
        found = [given[name] for name in ("href", "src") if given.get(name)]
        self.links += found
        self.fetched += found if tag in ("script", "link", "img") else []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    load(ROOT / "docs" / "build.py").build(out)
    return {path.relative_to(out): _Links(path.read_text(encoding="utf-8")) for path in out.rglob("*.html")}, out


def test_every_link_of_the_site_leads_to_a_file_and_its_anchor(site):
    pages, out = site
    dead = []
    for page, found in pages.items():
        assert not [link for link in found.fetched if re.match(r"(https?:)?//", link)]  # the site needs no network
        for link in found.links:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (out / page.parent / path).resolve() if path else out / page
            if not target.is_file() or (anchor and anchor not in pages[target.relative_to(out)].anchors):
                dead.append(f"{page}: {link}")
    assert not dead, "\n".join(dead)
    assert len(pages) > 20
    cited = [link for found in pages.values() for link in found.links if "docs/mathematics.html#" in link]
    assert len(cited) > 10  # "mathematics §7" in a docstring leads there


def test_every_document_is_part_of_the_site_and_stands_where_it_stood(site):
    pages, _ = site
    expected = {path.relative_to(ROOT).with_suffix(".html") for path in PAGES} - {Path("README.html")}
    assert expected | {Path("index.html"), Path("CHANGELOG.html")} <= set(pages)


def test_every_public_name_has_its_place_in_the_api_pages(site):
    pages, _ = site
    for folder, names in homotopy._PUBLIC.items():
        anchors = pages[Path("homotopy") / f"{folder}.html"].anchors
        assert not [name for name in names if name not in anchors and name != "datasets"]
    assert {"load", "read_csv", "random_linear"} <= set(pages[Path("homotopy/problem/datasets.html")].anchors)


def test_a_star_is_a_star_and_an_example_is_code():
    build = load(ROOT / "docs" / "build.py")
    assert "<a " not in build._MARKDOWN.render("the step 1_[0,τ](t)")
    assert "<em>" not in build._MARKDOWN.render("θ* − θ*₋ and ‖θ*(ε) − θ*₋‖ of θ*, θ*")
    html = build._MARKDOWN.render(build._fenced("An example.\n\n>>> 1 + 1\n2\n\nAfter."))
    assert "<blockquote>" not in html
    assert "<p>After.</p>" in html


def test_only_a_folder_that_the_builder_made_is_emptied(tmp_path):
    build = load(ROOT / "docs" / "build.py")
    theirs, ours = tmp_path / "theirs", tmp_path / "deep" / "ours"
    theirs.mkdir()
    build.empty(theirs)  # an empty folder may be used
    build.empty(ours)
    (ours / "page.html").write_text("")
    build.empty(ours)
    assert [path.name for path in ours.iterdir()] == [build.MARK]
    (theirs / build.MARK).unlink()
    (theirs / "thesis.txt").write_text("years of work")
    (tmp_path / "link").symlink_to(theirs)
    for out, why in (
        (theirs, "not made by docs/build.py"),
        (tmp_path / "link", "not made by docs/build.py"),
        (theirs / "thesis.txt", "is a file"),
    ):
        with pytest.raises(SystemExit, match=why):
            build.empty(out)
    assert (theirs / "thesis.txt").read_text() == "years of work"


def test_the_builder_never_empties_the_repository(tmp_path, monkeypatch):
    build = load(ROOT / "docs" / "build.py")
    root = tmp_path / "parent" / "repository"
    (root / "kept").mkdir(parents=True)
    (root / "kept" / "file").write_text("work")
    monkeypatch.setattr(build, "ROOT", root)
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run(["git", "-C", root, "add", "kept"], check=True)
    for folder in (tmp_path / "parent", root, root / "kept"):
        (folder / build.MARK).write_text("")  # not even where it is marked
        with pytest.raises(SystemExit, match=r"this repository|git tracks"):
            build.empty(folder)
    assert (root / "kept" / "file").read_text() == "work"
    build.empty(root / "site")


# The pages --------------------------------------------------------------------------------------------------------------


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(page, codes):
    """What `codes` define, one after the other, beginning with nothing."""
    space = {"__name__": f"_page_{page.stem}"}
    with redirect_stdout(io.StringIO()):
        for code in codes:
            exec(compile(code, page.name, "exec"), space)
    return space


@pytest.mark.parametrize("page", [page for page in PAGES if page != CONTRIBUTING], ids=lambda path: path.name)
def test_the_python_blocks_of_a_page_run_one_after_the_other(page):
    run(page, blocks(page))
    plt.close("all")


@pytest.mark.parametrize("number", range(3))
def test_every_block_of_how_to_contribute_is_a_file_that_works_alone(number):
    space = run(CONTRIBUTING, [blocks(CONTRIBUTING)[number]])
    assert ("compute" in space) == (number == 2)
    if "compute" in space:  # a scenario: as the command line runs it
        data = space["compute"](space["QUICK"], homotopy.run.Progress())
        assert space["draw"](data, space["QUICK"])
        assert space["tell"](data, space["QUICK"])
    plt.close("all")


def test_how_to_contribute_has_three_blocks():
    assert len(blocks(CONTRIBUTING)) == 3


def test_what_a_page_quotes_stands_in_the_file():
    for page in PAGES:
        for path, block in re.findall(r"^```python (\S+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            assert block in (ROOT / path).read_text(encoding="utf-8"), page.name


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_a_version_is_the_same_wherever_it_is_named():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = [re.search(r'^version(?:: | = ")([\d.]+)', text, re.MULTILINE)[1] for text in (citation, project)]
    assert named == [homotopy.__version__] * 2


def test_hooks_ask_what_ci_asks():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for command in ("ruff check", "ruff format", "mypy"):
        assert re.search(rf"entry: {command}\b", hooks)
        assert re.search(
            rf"bin/{command}\b".replace("ruff ", 'ruff" '), (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        )
    assert "run: .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_the_gallery_shows_every_picture_and_every_picture_exists():
    page = load(ROOT / "docs" / "gallery.py")
    assert page.PAGE.read_text(encoding="utf-8") == page.gallery()
    shown = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\((.*?\.(?:png|gif))\)", page.gallery())}
    assert shown == {path for path in (ROOT / "figures").rglob("*") if path.suffix in (".png", ".gif")}


def _calls():
    """The calls of the page "which call?": a function or class of the package each."""
    text = (ROOT / "docs" / "which_call.md").read_text(encoding="utf-8")
    for span in re.findall(r"`([^`]+)`", text[text.index("##") :]):
        for node in ast.walk(ast.parse(span, mode="eval")):
            if isinstance(node, ast.Call):
                yield span, node


def test_every_call_that_answers_a_question_can_be_made():
    owners = {
        "": homotopy, "datasets": homotopy.datasets,
        "problem": homotopy.Problem, "schedule": homotopy.AbstractSchedule,
    }  # fmt: skip
    wrong = []
    for span, call in _calls():
        owner, _, name = ast.unparse(call.func).rpartition(".")
        given = [None] * (len(call.args) + inspect.isclass(owners[owner]))  # a method takes its object too
        try:
            inspect.signature(getattr(owners[owner], name)).bind(*given, **{word.arg: None for word in call.keywords})
        except (AttributeError, TypeError) as error:
            wrong.append(f"{span}: {error}")
    assert not wrong, "\n".join(wrong)


def test_every_public_function_answers_a_question():
    answered = {ast.unparse(call.func) for _, call in _calls()}
    functions = {name for name in homotopy.__all__ if inspect.isfunction(getattr(homotopy, name))}
    assert not functions - answered


# The examples -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_runs_and_draws(path, tmp_path, capsys):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    load(path).main(tmp_path)
    plt.close("all")
    assert capsys.readouterr().out.strip()
    assert [picture.name for picture in tmp_path.glob("*.png")] == [f"{path.stem}.png"]


def test_there_are_five_examples():
    assert len(EXAMPLES) == 5
