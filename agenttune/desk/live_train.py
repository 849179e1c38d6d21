"""The training records of whole conversations: every call is run, every answer's value is copied from what was observed.

What is asked is about made-up articles (live_world.py) or numbers (live_typing.py); the thought before an answer quotes the
sentence that holds it, the thought before a call fills in the tool's own line, as in the one-step records.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from agenttune.agent.toolbox.run import Toolbox
from agenttune.desk import words
from agenttune.desk.decks import Deck, shares
from agenttune.desk.execute import Expert, answering
from agenttune.desk.live_talk import Talk, answered, evaluated, reckoning, seeking, usable
from agenttune.desk.live_tools import Lists, beside
from agenttune.desk.live_typing import filled, framed, substituted, typed
from agenttune.desk.live_world import Question, Topic, World, invented, lines
from agenttune.desk.pools import Draw
from agenttune.desk.recipe import Recipe
from agenttune.desk.request import PlannedRequest, Request, fill
from agenttune.values.trajectory import Round, Step, Trajectory

PER_WORLD = 24  # records that share one set of articles and four tool lists
_PRONOUNS = {"scientist": "he", "artist": "she"}


class LiveMaker:
    """Deals kinds, wordings, families and tool lists in even shares."""

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
        self._topics: dict[bool, Deck[Topic]] = {}

    def records(self, count: int) -> Iterator[Trajectory]:
        """`count` finished conversations."""
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count):
                if number % PER_WORLD == 0:
                    self.world = World(self.rng, Path(folder) / f"{number}.sqlite", 40, 12)
                    self.lists = Lists(self.rng, self.recipe, self.cards, self.world.search)
                    chinese = {one.family for one in self.world.topics[-12:]}
                    self._topics = {
                        zh: Deck(self.rng, [one for one in self.world.topics if one.questions and (one.family in chinese) == zh])
                        for zh in (False, True)
                    }
                yield self._record(number)

    def _record(self, number: int) -> Trajectory:
        kind = self.kinds.draw()
        self.counted[kind] += 1
        talk = getattr(self, f"_{kind}")()
        assert isinstance(talk, Talk)
        return Trajectory(
            id=f"live_{number:05d}",
            group=f"live_{number // PER_WORLD}",
            system=talk.listed.system,
            tools=tuple(one.spec for one in talk.listed.tools),
            rounds=tuple(talk.rounds),
            stop="answer",
        )

    def _begun(self, *needs: str, plain: bool = False, crowded: bool = False, fault: str = "") -> Talk:
        return Talk(listed=self.lists.plain() if plain else self.lists.draw(needs, crowded), fault=fault)

    # Sums

    def _sums(self) -> Talk:
        talk = self._begun("calculator")
        text, expression = self._sum()
        self._worked(talk, typed(self.rng, text), expression)
        return talk

    def _sum(self) -> tuple[str, str]:
        while True:
            line = self.sums.draw()
            text, expression = filled(self.rng, *line.removeprefix("~ ").split(" | "))
            if usable(expression):
                return (framed(self.rng, text, "s") if line.startswith("~ ") else text), expression

    def _worked(self, talk: Talk, text: str, expression: str, lang: str = "en") -> str:
        """A round with one sum; its result."""
        assert talk.listed.sums is not None
        talk.ask(text)
        result = talk.call(talk.listed.sums, expression, reckoning(talk.listed.sums, expression))
        talk.answer(answered(result, lang), "")
        return result

    # Facts

    def _facts(self) -> Talk:
        talk = self._begun("search")
        self._found(talk, *self._fact())
        return talk

    def _fact(self, chinese: bool = False) -> tuple[str, str, Question]:
        """What is typed, the query in its letters, and what is asked."""
        topic = self._topics[chinese].draw()
        later = [one for one in topic.questions if not topic.article.text.startswith(one.sentence)]
        question = self.rng.choice(later if later and self.rng.random() < 0.6 else topic.questions)
        return (*self._asked(question, chinese), question)

    def _asked(self, question: Question, chinese: bool = False) -> tuple[str, str]:
        rng = self.rng
        if chinese:
            return rng.choice(question.questions) + rng.choice(("？", "", "?")), question.query
        phrase = question.phrases and rng.random() < 0.45
        text = framed(rng, rng.choice(question.phrases), "n") if phrase else rng.choice(question.questions)
        shown, query = self._both(text, question.query)
        return shown, query

    def _both(self, text: str, *queries: str) -> tuple[str, ...]:
        """The text as typed, and queries with their names in the same letters."""
        shown = typed(self.rng, text, queries)
        small = shown == shown.lower()
        return (shown, *(query.lower() if small else query for query in queries))

    def _found(self, talk: Talk, text: str, query: str, question: Question) -> None:
        """A round with one fact."""
        talk.ask(text)
        self._looked(talk, query)
        talk.answer(question.answer, question.quoted)

    def _looked(self, talk: Talk, query: str, before: str = "") -> None:
        assert talk.listed.search is not None
        talk.call(talk.listed.search, query, f"{before} {seeking(talk.listed.search, query)}".strip())

    # A fact, then a sum

    def _computed(self) -> Talk:
        talk = self._begun("search", "calculator")
        code = self.rng.choices("2pdey", (5, 4, 4, 2, 3))[0]
        getattr(self, f"_of_{'pair' if code in 'de' else 'person' if code == 'p' else 'one'}")(talk, code)
        return talk

    def _figure(self, years: bool, family: str = "") -> tuple[Topic, Question]:
        while True:
            topic = self._topics[False].draw(lambda one: not family or one.family == family) if family else self._topics[False].draw()
            fits = [one for one in topic.questions if one.titled and one.number and one.phrases and (one.kind == "n") != years]
            if fits:
                return topic, self.rng.choice(fits)

    def _of_one(self, talk: Talk, code: str) -> None:
        while True:
            _, question = self._figure(code == "y")
            line = self.decks[code].draw()
            text, expression = filled(self.rng, *line.split(" | "))
            expression = substituted(expression, {"L": question.number})
            if usable(expression):
                break
        text, query = self._both(text.replace("{x}", self.rng.choice(question.phrases)), question.query)
        talk.ask(text)
        self._looked(talk, query)
        self._closed(talk, question.quoted, expression)

    def _of_person(self, talk: Talk, code: str) -> None:
        while True:
            topic = self._topics[False].draw()
            lived = re.search(r"\((\d{4}) to (\d{4})\)", topic.article.text)
            if lived:
                break
        line, expression = self.decks[code].draw().split(" | ")
        text, query = self._both(line.replace("{t}", topic.title), topic.title)
        talk.ask(text)
        self._looked(talk, query)
        sentence = f"{topic.title}: " + re.split(r"(?<=\.)\s", topic.article.text)[0]
        self._closed(talk, sentence, substituted(expression, {"Y": lived[1], "Z": lived[2]}))

    def _of_pair(self, talk: Talk, code: str) -> None:
        while True:
            first, one = self._figure(code == "e")
            second, other = self._figure(code == "e")
            text, expression = self.decks[code].draw().split(" | ")
            expression = substituted(expression, {"L": one.number, "M": other.number})
            if first.title != second.title and usable(expression):
                break
        slots = {"{t}": first.title, "{u}": second.title, "{x}": self.rng.choice(one.phrases), "{y}": self.rng.choice(other.phrases)}
        for slot, value in slots.items():
            text = text.replace(slot, value)
        text, query, next_query = self._both(text, one.query, other.query)
        talk.ask(text)
        self._looked(talk, query)
        self._looked(talk, next_query, one.quoted)
        self._closed(talk, other.quoted, expression)

    def _closed(self, talk: Talk, sentence: str, expression: str) -> None:
        assert talk.listed.sums is not None
        result = talk.call(talk.listed.sums, expression, f"{sentence} {reckoning(talk.listed.sums, expression)}")
        talk.answer(answered(result, "en"), "")

    # Chinese

    def _chinese(self) -> Talk:
        draw = self.rng.random()
        if draw < 0.46:
            talk = self._begun("search")
            self._found(talk, *self._fact(chinese=True))
            return talk
        if draw < 0.88:
            talk = self._begun("calculator")
            while True:
                text, expression = filled(self.rng, *self.chinese["s"].draw().split(" | "))
                if usable(expression):
                    break
            self._worked(talk, text.rstrip("？?") + self.rng.choice(("？", "", "?")), expression, "zh")
            return talk
        talk = self._begun(plain=True)
        declined = draw > 0.93
        text, told = self.chinese["!" if declined else "g"].draw().split(" | ")
        talk.ask(text.replace("{N}", invented(self.rng, chinese=True)))
        talk.answer(words.NO_TOOL_ZH[0].format(gloss=told) if declined else told, f"{words.NONE['en'] if declined else words.TALK['en']}.")
        return talk

    # No call

    def _talk(self) -> Talk:
        talk = self._begun("search", "calculator")
        text, told = self.talk.draw().split(" | ")
        talk.ask(typed(self.rng, text.replace("{N}", invented(self.rng))))
        talk.answer(told, f"{words.TALK['en']}.")
        return talk

    def _declines(self) -> Talk:
        talk = self._begun(plain=True)
        text, gloss = filled(self.rng, *self.requests.draw().split(" | "))
        talk.ask(typed(self.rng, text.replace("{N}", invented(self.rng))))
        talk.answer(words.NO_TOOL[0].format(gloss=gloss), f"To {gloss}. {words.NONE['en']}.")
        return talk

    # More than one round

    def _missing(self) -> Talk:
        talk = self._begun("search", "calculator", plain=True)
        text, kind = self.decks["m"].draw().split(" | ")
        talk.ask(typed(self.rng, text))
        if kind == "calculator":
            assert talk.listed.sums is not None
            talk.answer(words.ASK[0].format(label="numbers"), reckoning(talk.listed.sums, "?"))
            text, expression = self._sum()
            self._worked(talk, typed(self.rng, text), expression)
        else:
            assert talk.listed.search is not None
            talk.answer(words.ASK[0].format(label="name and what you want to know"), seeking(talk.listed.search, "?"))
            self._found(talk, *self._fact())
        return talk

    def _follow(self) -> Talk:
        if self.rng.random() < 0.5:
            return self._followed_sum()
        talk = self._begun("search")
        topic = self._topics[False].draw(lambda one: sum(own.titled for own in one.questions) > 1)
        first, second = self.rng.sample([one for one in topic.questions if one.titled], 2)
        text, query = self._asked(first)
        self._found(talk, text, query, first)
        asked = self._pronoun(topic, self.rng.choice(second.questions))
        phrase = self._pronoun(topic, self.rng.choice(second.phrases))
        frame = self.decks["f"].draw().replace("{q}", asked.rstrip("?")).replace("{p}", phrase)
        small = query == query.lower()
        self._found(talk, typed(self.rng, frame), second.query.lower() if small else second.query, second)
        return talk

    def _pronoun(self, topic: Topic, text: str) -> str:
        names = sorted({topic.title, topic.title.split(" (")[0]}, key=len, reverse=True)
        word = _PRONOUNS.get(topic.family, "it")
        for name in names:
            for own in (f"the {name}", f"a {name}", name):
                text = text.replace(f"{own}'s", "its").replace(own, word)
        return text

    def _followed_sum(self) -> Talk:
        talk = self._begun("calculator")
        if self.rng.random() < 0.4:
            return self._asked_again(talk)
        while True:
            text, expression = self._sum()
            result = evaluated(expression)
            if result and len(result) <= 7:
                break
        self._worked(talk, typed(self.rng, text), expression)
        text, after = filled(self.rng, *self.decks["c"].draw().split(" | "))
        self._worked(talk, typed(self.rng, text), after.replace("({e})", result))
        return talk

    def _asked_again(self, talk: Talk) -> Talk:
        """The same sum of another number: what is the same is left out."""
        text, first, second = self.decks["g"].draw().split(" | ")
        shown, expressions = filled(self.rng, text, f"{first} | {second}")
        for asked, expression in zip(shown.split(" || "), expressions.split(" | "), strict=True):
            self._worked(talk, typed(self.rng, asked), expression)
        return talk

    def _retry(self) -> Talk:
        fault = self.rng.choice(words.BUSY)
        if self.rng.random() < 0.5:
            talk = self._begun("calculator", fault=fault)
            text, expression = self._sum()
            self._worked(talk, typed(self.rng, text), expression)
        else:
            talk = self._begun("search", fault=fault)
            self._found(talk, *self._fact())
        return talk

    # Another tool of the list

    def _other(self) -> Talk:
        """What one of the other tools does, though the list also searches and reckons."""
        while True:
            talk = self._begun("search", "calculator", crowded=True)
            usable = [one for one in talk.listed.others if one.card.select("train", "en", False)]
            if usable:
                break
        offer = self.rng.choice(usable)
        pattern = self.rng.choice(offer.card.select("train", "en", False))
        text, values = fill(pattern, offer.card, Draw(self.rng, False, "en"))
        request = Request(kind="call", lang="en", user=text, patterns=(pattern,), calls=(PlannedRequest(offer=offer, values=values),))
        expert = Expert(request, self.recipe.thought, self.recipe.phrases, self.rng)
        tools = [answering(one) if one is offer.tool else one for one in talk.listed.tools]
        talk.ask(text)
        step = expert.step()
        (seen,) = Toolbox(tools, inline=True).run(step.calls)
        assert not seen.error, (step, seen.text)
        expert.seen.append(seen.text)
        talk.steps = [Step(thought=step.thought, calls=step.calls, observations=(seen,)), expert.step()]
        talk.rounds[-1] = Round(user=text, steps=tuple(talk.steps))
        return talk


def train_trajectories(recipe: Recipe) -> tuple[Sequence[Trajectory], Counter[str]]:
    """The conversations, in the recipe's share of all training records, and what they are."""
    maker = LiveMaker(recipe)
    count = round(recipe.requests * recipe.live / (1 - recipe.live)) if recipe.live < 1 else recipe.requests
    return list(maker.records(count)), Counter({f"kind {name}": number for name, number in maker.counted.items()})
