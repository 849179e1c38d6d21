"""A folder of one's own as a search file: what is read, what is told, and what is not read twice."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from agenttune.agent.toolbox import find
from agenttune.agent.toolbox.articles import documents
from agenttune.agent.toolbox.articles.documents import LENGTH, passages
from agenttune.agent.toolbox.articles.folder_index import index_folder
from agenttune.agent.toolbox.articles.index import build_index, read_articles, search_index
from agenttune.cli import main
from agenttune.errors import UserError
from agenttune.values.trajectory import ToolCall
from tests.benchmarks.peers import environment
from tests.search_server import SEARCH_PEERS

FILES = {
    "garden.md": "---\ntitle: x\n---\nBefore all.\n\n# My *garden*\n\nThe key hangs behind the [door](door.md \"way in\").\n\n"
    "## Tools ##\n\n```sh\n# not a heading\n```\nThe rake is blue.\n",
    "sub/trip.html": "<html><title>Trip &amp; fun</title><script>no()</script><h2>Day 1</h2><p>We took the 7:15 train.",
    "zh.txt": "第三届论坛\u2028在北京举行。",
    "latin.txt": "café",
    "picture.png": "no",
    "archive": "no",
    ".hidden/secret.md": "secret",
    ".secret.md": "secret",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "notes"


def found(index: Path, query: str) -> list[tuple[str, str, str]]:
    return [(one.title, one.text, one.source) for one in search_index(index, query)]


def test_each_kind_of_file_in_passages_under_its_title(folder: Path, tmp_path: Path) -> None:
    made = index_folder(folder, tmp_path / "notes.sqlite")
    assert (made.read, made.known, made.gone, made.failed) == (4, 0, 0, ())
    assert dict(made.others) == {".png": 1, "no suffix": 1}
    assert made.passages == 6
    assert found(made.path, "key door") == [("My garden", "The key hangs behind the door.", "garden.md")]
    assert found(made.path, "before") == [("My garden", "Before all.", "garden.md")]
    assert found(made.path, "rake") == [("My garden, Tools", "# not a heading The rake is blue.", "garden.md")]
    assert found(made.path, "train") == [("Trip & fun, Day 1", "We took the 7:15 train.", "sub/trip.html")]
    assert found(made.path, "论坛在哪里举行") == [("zh", "第三届论坛 在北京举行。", "zh.txt")]
    assert found(made.path, "secret") == []


def test_the_tool_searches_the_file_it_was_given(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tools", "index", "notes"]) == 0
    with find(["local_search:notes.sqlite"]) as toolbox:
        assert [(one.name, one.description) for one in toolbox.specs] == [("local_search", "Searches the files of a folder.")]
        (seen,) = toolbox.run([ToolCall(name="local_search", arguments={"query": "the rake"})])
        assert (seen.text, seen.error) == ("1. My garden, Tools: # not a heading The rake is blue. (garden.md)", False)
    (tmp_path / "own.jsonl").write_text('{"title": "Tea", "text": "A drink\u2028of leaves."}\n', encoding="utf-8")
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    with find(["local_search:own.jsonl"], inline=True) as toolbox:
        assert toolbox.run([ToolCall(name="local_search", arguments={"query": "tea"})])[0].text == "1. Tea: A drink\u2028of leaves."


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("local_search:nowhere.sqlite", "there is no such file; make one with agenttune tools index FOLDER -o nowhere.sqlite"),
        ("local_search:zh.txt", "it is no search file; make one with agenttune tools index FOLDER"),
        ("local_search:", "wants a word after the colon"),
        ("calculator:x", "calculator takes nothing after the colon"),
    ],
)
def test_names_that_are_none(folder: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=says):
        find([name])


def test_only_what_changed_is_read_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "notes.sqlite"
    index_folder(folder, target)
    (folder / "zh.txt").unlink()
    (folder / "latin.txt").write_text("thé")
    (folder / "new.txt").write_text("fresh")
    os.utime(folder / "garden.md", (1, 1))
    was_read: list[str] = []
    real = passages
    monkeypatch.setattr(
        "agenttune.agent.toolbox.articles.folder_index.passages", lambda path, name: [was_read.append(name), real(path, name)][1]
    )
    made = index_folder(folder, target)
    assert was_read == ["latin.txt", "new.txt"]
    assert (made.read, made.known, made.gone) == (2, 2, 1)
    assert found(target, "论坛") == []
    assert found(target, "rake") != []
    assert found(target, "cafe") == []


def test_what_cannot_be_read_is_told_and_the_rest_is_there(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bin.txt").write_bytes(b"\x00\x01")
    (folder / "big.md").write_bytes(b"")
    os.truncate(folder / "big.md", 65_000_000)
    (folder / "bad.pdf").write_text("no PDF")
    (folder / "link.txt").symlink_to(folder / "zh.txt")
    assert main(["tools", "index", str(folder), "-o", str(tmp_path / "x.sqlite")]) == 1
    told = capsys.readouterr()
    assert "passages: 6, files: 4 (4 read, 0 known)" in told.out
    assert "not read: bin.txt: it is not text" in told.err
    assert "not read: big.md: it is larger than 64 MB" in told.err
    assert "not read: bad.pdf: " in told.err
    assert "of other kinds: 1 no suffix, 1 .png" in told.err


def test_a_file_that_is_something_else_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.sqlite"
    target.write_text("my novel")
    with pytest.raises(UserError, match="is no search file of a folder"):
        index_folder(folder, target)
    assert target.read_text() == "my novel"
    build_index([], target)
    with pytest.raises(UserError, match="is no search file of a folder"):
        index_folder(folder, target)
    index_folder(folder, target, overwrite=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=f"is the search file of {folder}"):
        index_folder(tmp_path / "other", target)
    with pytest.raises(UserError, match="there is no folder"):
        index_folder(tmp_path / "none", target)
    made = index_folder(tmp_path / "other", tmp_path / "empty.sqlite")
    assert (made.passages, index_folder(tmp_path / "other", made.path).passages) == (0, 0)


def test_the_search_file_may_lie_in_the_folder(folder: Path) -> None:
    index_folder(folder, folder / "notes.sqlite")
    assert ".sqlite" not in index_folder(folder, folder / "notes.sqlite").others


@pytest.mark.parametrize("text", ["word " * 500, "字" * 1500, "A sentence. " * 200, "x" * 2000, "para\n\n" * 300, "第一句。第二句！" * 200])
def test_no_passage_is_longer_than_is_shown_and_no_letter_is_lost(text: str, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    made = passages(tmp_path / "long.txt", "long.txt")
    assert all(0 < len(one.text) <= LENGTH for one in made)
    assert "".join("".join(one.text.split()) for one in made) == "".join(text.split())
    assert len(made) <= 2 * len(text) / LENGTH + 2


def test_articles_of_a_file_with_other_line_separators(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\x85four\x0cfive"
    (tmp_path / "a.jsonl").write_text(json.dumps({"title": "t", "text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [one.text for one in read_articles(tmp_path / "a.jsonl")] == [text]
    assert documents.KINDS[".pdf"] == "pdf"


REAL = """
import json, sys
from pathlib import Path
from agenttune.agent.toolbox.articles.folder_index import index_folder
from agenttune.agent.toolbox.articles.index import search_index
made = index_folder(Path(sys.argv[1]), Path(sys.argv[2]))
found = [[one.title, one.text, one.source] for one in search_index(made.path, "harbour")]
print(json.dumps({"found": found, "failed": made.failed}))
"""


def pdf(*pages: str) -> bytes:
    """A PDF of one line a page, by hand (ISO 32000-1, 7.5)."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, line in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET" if line else ""
        contents = f"/Contents {5 + 2 * number} 0 R /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {contents} >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    body, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


@pytest.mark.slow
def test_pdf_by_pypdf_itself(tmp_path: Path) -> None:
    python = environment("search", SEARCH_PEERS, above_ours=True)
    if python is None:
        pytest.skip("no package index can be reached")
    (tmp_path / "pdfs").mkdir()
    whole = pdf("The first page.", "The harbour opens at nine.")
    for name, data in {"port.pdf": whole, "scan.pdf": pdf(""), "cut.pdf": whole[:150], "none.pdf": b"no PDF"}.items():
        (tmp_path / "pdfs" / name).write_bytes(data)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [python, "-c", REAL, str(tmp_path / "pdfs"), str(tmp_path / "x.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["found"] == [["port, page 2", "The harbour opens at nine.", "port.pdf"]]
    failed = dict(told["failed"])
    assert failed["scan.pdf"] == "the PDF holds no text; its pages are pictures"
    assert set(failed) == {"scan.pdf", "cut.pdf", "none.pdf"}
    assert all(why.startswith("the PDF ") for why in failed.values())
