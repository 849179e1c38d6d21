"""Nothing of BFCL is in the training half of the suite desk: word n-grams of its questions and descriptions, as GPT-3's authors looked for
test data in training data (Brown et al. 2020, appendix C: 13 words)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agenttune.desk import build
from agenttune.evaluation import suites


def grams(text: str, size: int) -> set[str]:
    """The runs of so many words, in small letters without punctuation."""
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[at : at + size]) for at in range(len(words) - size + 1)}


@pytest.mark.slow
@pytest.mark.usefixtures("located")
def test_no_training_record_of_desk_shares_thirteen_words_with_bfcl(tmp_path: Path) -> None:
    build.main(["-o", str(tmp_path)])
    lines = [line for name in ("train.msagent", "train.live") for line in (tmp_path / f"{name}.jsonl").read_text("utf-8").splitlines()]
    trained = [re.sub(r"\\+n", " ", line) for line in lines]  # a line of JSON as its words; its line breaks are spelled out
    eight, thirteen = ({gram for text in trained for gram in grams(text, size)} for size in (8, 13))
    assert len(thirteen) > 100_000
    cases = suites.load("bfcl:ast").cases
    shared_eight = set()
    for case in cases:
        for text in (case.sample.turns[-1].input, *(tool.description for tool in case.sample.tools)):
            assert not grams(text, 13) & thirteen, case.id
            shared_eight |= grams(text, 8) & eight
    assert len(cases) == 2501
    # what anybody asks of a circle, in two of the questions; that it is found shows that the words are read
    assert shared_eight == {"what s the area of a circle with"}, shared_eight
