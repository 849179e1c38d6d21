"""Web pages and documents: read as text, in the time of their length, and shown."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agenttune.agent.toolbox.articles.documents import DocumentError, passages
from agenttune.agent.toolbox.search.results import listed, result
from agenttune.agent.toolbox.web.html_text import readable
from agenttune.errors import UserError
from tests.fuzz.judge import fuzz
from tests.fuzz.mutate import mutated, mutated_text

PAGE = """<!DOCTYPE html><html lang="en"><head><title>Tea &amp; coffee</title><meta charset="utf-8"><style>p { color: red }</style>
<script>if (1 < 2) { document.write("<p>no</p>") }</script></head><body><nav><a href="/">home</a></nav><!-- a comment -->
<h1>Tea</h1><p class="a" title='x'>It is &#8364;5 &lt; 6 &nbsp;&#x41;<br>and <b>hot</b>.</p><ul><li>one<li>two</ul>
<table><tr><th>a<td>b</table><svg><text>t</text></svg><![CDATA[ c ]]><?php echo 1 ?><h2>More</h2><p>Long text.</p></body></html>"""
NOTES = """---
title: Notes
---
# Tea `hot`

Some [text](https://a.example/b_(c) "d") with ![a picture](p.png).

```python
# no heading
```

## More ##
- one. Two! Three?
"""
KINDS = {".html": PAGE, ".md": NOTES, ".txt": NOTES}


@pytest.mark.slow
def test_pages(tmp_path: Path) -> None:
    def make(chance: random.Random) -> tuple[str, bytes]:
        kind = chance.choice(list(KINDS))
        text = KINDS[kind]
        if chance.random() < 0.5:
            return kind, mutated(text.encode(), chance)
        return kind, mutated_text(text, chance).encode("utf-8", "surrogatepass")

    def enter(given: tuple[str, bytes]) -> None:
        path = tmp_path / f"page{given[0]}"
        path.write_bytes(given[1])
        text = given[1].decode("utf-8", "replace")
        assert len(readable(text)) <= 4 * len(text) + 100
        listed([result(text, text, text, text), result(None, None, None)])
        try:
            passages(path, "page")
        except DocumentError as error:
            raise UserError(str(error)) from error

    fuzz("pages", make, enter)
