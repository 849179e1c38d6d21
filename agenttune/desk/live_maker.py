"""What a whole training conversation is dealt: its kind, wording, articles and tools; and rounds of one sum or one fact."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from agenttune.desk.decks import Deck, shares
from agenttune.desk.live_talk import Talk, answered, reckoning, seeking, usable
from agenttune.desk.live_tools import Lists, beside
from agenttune.desk.live_typing import filled, framed, typed
from agenttune.desk.live_world import Question, Topic, World, lines
from agenttune.desk.recipe import Recipe


class LiveMaker:
    """Deals kinds, wordings, families and tool lists in even shares, and makes the rounds that several kinds have."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.rng = rng = random.Random(f"live {recipe.seed}")
        self.cards = Deck(rng, beside())
        kinds = {
            "sums": recipe.live_sums, "facts": recipe.live_facts, "computed": recipe.live_computed, "chinese": recipe.live_chinese,
            "talk": recipe.live_talk, "declines": recipe.live_declines, "missing": recipe.live_missing, "follow": recipe.live_follow,
            "retry": recipe.live_retry, "other": recipe.live_other,
        }  # fmt: skip
        self.kinds = shares(rng, kinds, 100)
        sums = lines("sums", "")
        self.sums = Deck(rng, sums)
        self.decks = {code: Deck(rng, lines("other", code)) for code in "2pdeymcfg"}
        talk = lines("talk", "")
        self.talk = Deck(rng, [one for one in talk if not one.startswith("! ")])
        self.requests = Deck(rng, [one[2:] for one in talk if one.startswith("! ")])
        self.chinese = {code: Deck(rng, lines("chinese", code)) for code in "sg!"}
        self.counted: Counter[str] = Counter()
        self.topics: dict[bool, Deck[Topic]] = {}  # Chinese ones, and the others

    def begin_world(self, database: Path) -> None:
        """New articles, of which the last are Chinese, and new tool lists over them."""
        self.world = World(self.rng, database, 40, 12)
        self.lists = Lists(self.rng, self.recipe, self.cards, self.world.search)
        chinese = {one.family for one in self.world.topics[-12:]}
        self.topics = {
            zh: Deck(self.rng, [one for one in self.world.topics if one.questions and (one.family in chinese) == zh])
            for zh in (False, True)
        }

    def begun(self, *needs: str, plain: bool = False, crowded: bool = False, fault: str = "") -> Talk:
        """A conversation whose tools fit."""
        return Talk(listed=self.lists.plain() if plain else self.lists.draw(needs, crowded), fault=fault)

    def sum(self) -> tuple[str, str]:
        """What is typed, and the expression."""
        while True:
            line = self.sums.draw()
            text, expression = filled(self.rng, *line.removeprefix("~ ").split(" | "))
            if usable(expression):
                return (framed(self.rng, text, "s") if line.startswith("~ ") else text), expression

    def worked(self, talk: Talk, text: str, expression: str, lang: str = "en") -> str:
        """A round with one sum; its result."""
        assert talk.listed.sums is not None
        talk.ask(text)
        result = talk.call(talk.listed.sums, expression, reckoning(talk.listed.sums, expression))
        talk.answer(answered(result, lang), "")
        return result

    def fact(self, chinese: bool = False) -> tuple[str, str, Question]:
        """What is typed, the query in its letters, and what is asked."""
        topic = self.topics[chinese].draw()
        later = [one for one in topic.questions if not topic.article.text.startswith(one.sentence)]
        question = self.rng.choice(later if later and self.rng.random() < 0.6 else topic.questions)
        return (*self.asked(question, chinese), question)

    def asked(self, question: Question, chinese: bool = False) -> tuple[str, str]:
        """A wording of the question as typed, and the query in its letters."""
        rng = self.rng
        if chinese:
            return rng.choice(question.questions) + rng.choice(("？", "", "?")), question.query
        phrase = question.phrases and rng.random() < 0.45
        text = framed(rng, rng.choice(question.phrases), "n") if phrase else rng.choice(question.questions)
        shown, query = self.both(text, question.query)
        return shown, query

    def both(self, text: str, *queries: str) -> tuple[str, ...]:
        """The text as typed, and queries with their names in the same letters."""
        shown = typed(self.rng, text, queries)
        small = shown == shown.lower()
        return (shown, *(query.lower() if small else query for query in queries))

    def found(self, talk: Talk, text: str, query: str, question: Question) -> None:
        """A round with one fact."""
        talk.ask(text)
        self.looked(talk, query)
        talk.answer(question.answer, question.quoted)

    def looked(self, talk: Talk, query: str, before: str = "") -> None:
        """A search, with what was found before in its thought."""
        assert talk.listed.search is not None
        talk.call(talk.listed.search, query, f"{before} {seeking(talk.listed.search, query)}".strip())
