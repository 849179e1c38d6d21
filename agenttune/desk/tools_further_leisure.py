"""Further training tools: games, music-making, hobbies, parties, crafts, reading for fun, outdoors."""

from __future__ import annotations

import math
import re
from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.lookups import above_zero, beside, place
from agenttune.desk.tables import fixed, lists
from agenttune.desk.tools_numbers import read_date

_BALLS = (
    "Kelly's eye",
    "cup of tea",
    "man alive",
    "lucky seven",
    "doctor's orders",
    "on its own",
    "garden gate",
    "the old dear",
    "up to tricks",
)
_TERMS = (
    "a penguin that has lost its ticket", "someone who cannot find the door", "a king with hiccups", "two cooks and one spoon",
    "a shy photographer", "a dog that hates the post", "a very slow race", "the last slice of cake", "a queue in the rain",
)  # fmt: skip
_LETTERS = {1: "aeilnorstu", 2: "dg", 3: "bcmp", 4: "fhvwy", 5: "k", 8: "jx", 10: "qz"}


def chess_opening(opening: str) -> str:
    """Moves of a chess opening."""
    return beside("leisure_opening", opening, "leisure_opening_moves", "opening")


def elo_chance(own: int, rival: int) -> dict[str, Any]:
    """Expected score in percent by the Elo formula."""
    return {"result": round(100 / (1 + 10 ** ((above_zero(rival, "rating") - above_zero(own, "rating")) / 400)))}


def knockout_rounds(entrants: int, places: int = 1) -> dict[str, Any]:
    """Rounds of a knockout, and how many turns at the tables they take."""
    if entrants < 2:
        raise ToolError("a tournament has two entrants or more")
    return {"result": math.ceil(math.log2(entrants)), "turns": math.ceil((entrants - 1) / above_zero(places, "number of matches"))}


def darts_finish(rest: int) -> str:
    """Throws that end on a double."""
    singles = [*range(1, 21), 25, *range(22, 41, 2), *range(21, 61, 3)]
    named = (
        {50: "bull", 25: "single bull"}
        | {2 * one: f"double {one}" for one in range(20, 0, -1)}
        | {3 * one: f"triple {one}" for one in range(7, 21)}
    )
    doubles = {2 * one: f"double {one}" for one in range(1, 21)} | {50: "bull"}
    if rest in doubles:
        return doubles[rest]
    for first in sorted(singles, reverse=True):
        if rest - first in doubles:
            return f"{named.get(first, f'single {first}')}, {doubles[rest - first]}"
    raise ToolError(f"two darts do not finish {rest}")


def bingo_nickname(ball: int) -> str:
    """The call for a ball."""
    if not 1 <= ball <= 90:
        raise ToolError("the balls go from 1 to 90")
    return f"{_BALLS[fixed(str(ball), len(_BALLS))]}, {ball}"


def tile_points(laid: str, bonus: str = "") -> dict[str, Any]:
    """Letter values of a word, times the premium square."""
    values = {letter: value for value, letters in _LETTERS.items() for letter in letters}
    times = 3 if "triple" in bonus.lower() else 2 if "double" in bonus.lower() else 1
    return {"result": times * sum(values.get(letter, 0) for letter in laid.lower())}


def crossword_fill(gaps: str) -> str:
    """The word that fits a row of letters and gaps."""
    if not re.fullmatch(r"[A-Za-z?]+", gaps.strip()):
        raise ToolError("write letters, and a question mark for each gap")
    return beside("leisure_gaps", gaps, "leisure_gaps_filled", "word for")


def sudoku_sheet(level: str, sheets: int = 1) -> str:
    """Makes puzzles."""
    given = 38 - 2 * place("leisure_level", level, "level")
    return f"{round(above_zero(sheets, 'number of puzzles'))} ready to print, {given} digits given in each."


def jigsaw_hours(pieces: int, puzzlers: int = 1) -> dict[str, Any]:
    """Hours for a jigsaw; bigger ones take longer a piece."""
    alone = above_zero(pieces, "number of pieces") ** 1.2 / 400
    return {"result": round(alone / above_zero(puzzlers, "number of people") ** 0.7, 1)}


def deal_hand(cardgame: str, hands: int) -> dict[str, Any]:
    """Cards for each player from a pack of 52."""
    most = 52 // round(above_zero(hands, "number of players"))
    return {"result": min(most, 5 + 2 * fixed(str(place("leisure_cardgame", cardgame, "card game")), 5))}


def score_note(scorer: str, points: int) -> str:
    """Adds to a tally."""
    return f"{scorer} now stands at {points + 10 * fixed(scorer, 12)}."


def team_split(crowd: str, sides: int) -> str:
    """Deals names to teams."""
    names = sorted(re.split(r",\s*|\s+and\s+", crowd.strip()), key=lambda name: fixed(name + crowd, 1000))
    if not 2 <= sides <= len(names):
        raise ToolError(f"{len(names)} people do not make {sides} teams")
    return "; ".join(" + ".join(names[at::sides]) for at in range(sides))


def charades_term(field: str, terms: int = 1) -> str:
    """Terms to act out."""
    start = fixed(field, len(_TERMS))
    return "; ".join(_TERMS[(start + at) % len(_TERMS)] for at in range(min(terms, len(_TERMS))))


def chess_clock(each: int, increment: int = 0) -> str:
    """Sets a clock."""
    return f"Both dials show {round(above_zero(each, 'time'))}:00, with {increment} s a move."


def cheat_code(title: str, perk: str = "") -> str:
    """Buttons to press."""
    place("leisure_videogame", title, "game")
    seed = title + perk
    return ", ".join(("up", "down", "left", "right", "A", "B")[fixed(f"{seed}{at}", 6)] for at in range(5))


def metronome(tempo: int, metre: str = "4/4") -> str:
    """Clicks."""
    if not 20 <= tempo <= 300:
        raise ToolError("the metronome goes from 20 to 300")
    return f"{tempo} beats a minute in {metre}, one click every {60 / tempo:.2f} s."


def string_tuning(plucked: str) -> str:
    """Notes of the strings."""
    return beside("leisure_strings", plucked, "leisure_strings_notes", "instrument")


def note_pitch(tone: str) -> dict[str, Any]:
    """Hertz of a note in equal temperament, A4 at 440."""
    found = re.fullmatch(r"([A-G])([#b]?)(\d)", tone.strip())
    if not found:
        raise ToolError("write a note like A4 or F#3")
    step = {"C": -9, "D": -7, "E": -5, "F": -4, "G": -2, "A": 0, "B": 2}[found[1]] + {"#": 1, "b": -1, "": 0}[found[2]]
    return {"result": round(440 * 2 ** ((step + 12 * (int(found[3]) - 4)) / 12), 2)}


def playlist_add(track: str, playlist: str) -> str:
    """Adds a song to a playlist."""
    return f"{playlist} has {8 + fixed(playlist + track, 40)} tracks now."


def music_off(after: int, where: str = "player") -> str:
    """Stops the music later."""
    return f"The {where} will fall silent in {round(above_zero(after, 'time'))} minutes."


def practice_log(practised: str, minutes: int) -> str:
    """Logs practice."""
    return f"Noted: {round(above_zero(minutes, 'time'))} min; {practised} this week: {minutes + 5 * fixed(practised, 30)} min."


def sheet_music(piece: str, instrument: str) -> str:
    """Orders printed notes."""
    return f"{4 + fixed(piece, 20)} pages for {instrument}, delivered in {2 + fixed(piece + instrument, 5)} days."


def jam_slot(musician: str, evening: str, brings: str = "voice") -> str:
    """Signs a musician up."""
    return f"{musician}, {brings}: number {1 + fixed(musician + evening, 12)} on the list."


def instrument_hire(hired: str, months: int) -> str:
    """Price of a hired instrument."""
    rate = 9 + fixed(str(place("leisure_instrument", hired, "instrument")), 25)
    return f"It comes to {round(rate * above_zero(months, 'number of months'))} euros, {rate} a month."


def pizza_count(eaters: int, appetite: str = "normal") -> dict[str, Any]:
    """Pizzas of eight slices."""
    slices = (2, 3, 4, 6)[place("leisure_appetite", appetite, "appetite")]
    return {"result": math.ceil(slices * above_zero(eaters, "number of people") / 8)}


def balloon_gas(balloons: int) -> dict[str, Any]:
    """Litres of helium for balloons of 28 cm."""
    return {"result": round(11.5 * above_zero(balloons, "number of balloons"))}


def costume_idea(motto: str) -> str:
    """A costume for a motto."""
    return beside("leisure_motto", motto, "leisure_motto_costume", "motto")


def cake_order(flavour: str, ready: str, servings: int = 12) -> str:
    """Orders a cake."""
    read_date(ready)
    return f"{round(above_zero(servings, 'number of servings'))} servings, ready at {8 + fixed(flavour + ready, 8)} o'clock."


def punch_amount(drinkers: int, lasts: float) -> dict[str, Any]:
    """Litres: a half in the first hour, a quarter in each later one."""
    return {"result": math.ceil(above_zero(drinkers, "number of people") * (0.25 + 0.25 * above_zero(lasts, "time")))}


def dance_partner(dance: str, skill: str = "beginner") -> str:
    """Somebody who seeks a partner for a dance."""
    place("leisure_dance", dance, "dance")
    return (
        f"{lists()['first'][fixed(dance + skill, 40)]}, {skill}, free on {('Mondays', 'Wednesdays', 'Fridays', 'Sundays')[fixed(dance, 4)]}"
    )


def film_vote(film: str, voter: str) -> str:
    """Counts a vote."""
    return f"{film} has {1 + fixed(film, 7)} votes, the last one by {voter}."


def reading_hours(pages: int, speed: str = "normal") -> dict[str, Any]:
    """Hours for so many pages, by pages an hour."""
    an_hour = (24, 35, 50, 16, 70)[place("leisure_speed", speed, "reading speed")]
    return {"result": round(above_zero(pages, "number of pages") / an_hour, 1)}


def page_mark(volume: str, page: int) -> str:
    """Keeps a page."""
    return f"{volume}: page {round(above_zero(page, 'page'))} is marked."


def next_volume(finished: str) -> str:
    """The volume that follows."""
    return beside("leisure_volume", finished, "leisure_volume_next", "series with")


def star_rating(rated: str, stars: int) -> str:
    """Stores a verdict of one to six stars."""
    if not 1 <= stars <= 6:
        raise ToolError("one to six stars can be given")
    others = 20 + fixed(rated, 80)
    return f"{rated} now has {(4 * others + stars) / (others + 1):.2f} stars on average."


def bead_count(cord: int, bead: int) -> dict[str, Any]:
    """Beads in a row, the clasp taking 1 cm."""
    return {"result": max(0, int((above_zero(cord, "length") - 1) * 10 / above_zero(bead, "size")))}


def paper_fold(figure: str, sheet: str = "white") -> str:
    """Steps for a figure."""
    place("leisure_figure", figure, "figure")
    base = ("bird base", "kite base", "boat base", "blintz base")[fixed(figure, 4)]
    return f"Take a {sheet} square, fold the {base}, then {6 + fixed(figure, 14)} steps from drawing {1 + fixed(figure, 60)}."


def paint_mixing(shade: str, medium: str = "acrylic") -> str:
    """Paints for a shade."""
    place("leisure_medium", medium, "kind of paint")
    return beside("leisure_shade", shade, "leisure_shade_mix", "mixture for")


def floss_number(colour: str, maker: str = "Lindner") -> dict[str, Any]:
    """Number in a maker's chart."""
    return {"result": 100 + fixed(maker, 90) * 10 + place("leisure_shade", colour, "thread")}


def model_size(real: float, scale: str) -> dict[str, Any]:
    """Centimetres of a length at a scale like 1:87."""
    found = re.fullmatch(r"1\s*[:/]\s*(\d+)", scale.strip())
    if not found or not int(found[1]):
        raise ToolError("write a scale like 1:87")
    return {"result": round(100 * above_zero(real, "length") / int(found[1]), 1)}


def hike_time(km: float, ascent: int) -> dict[str, Any]:
    """Hours by the rule of the Alpine clubs: 4 km or 400 m an hour, the smaller part half."""
    flat, climb = above_zero(km, "length") / 4, max(0, ascent) / 400
    return {"result": round(max(flat, climb) + min(flat, climb) / 2, 1)}


def pitch_book(camp: str, nights: int, shelter: str = "tent") -> str:
    """Books a pitch."""
    price = (12 + fixed(camp, 20)) * round(above_zero(nights, "number of nights"))
    return f"Pitch {1 + fixed(camp + shelter, 120)} for a {shelter}, {nights} nights, {price} euros."


def fire_ban(woodland: str, flame: str = "campfire") -> str:
    """Whether a fire may burn."""
    level = 1 + fixed(woodland, 5)
    allowed = level < (2 if flame in ("campfire", "small bonfire", "torch") else 4)
    return f"A {flame} is {'allowed' if allowed else 'forbidden'}; danger level {level} of 5."


def boat_hire(vessel: str, departs: str, crew: int = 2) -> str:
    """Reserves a boat."""
    place("leisure_vessel", vessel, "boat")
    return f"Jetty {1 + fixed(vessel, 6)}, {departs}, {round(above_zero(crew, 'number of people'))} life jackets."


def fishing_bait(fish: str, waters: str = "lake") -> str:
    """Bait for a fish."""
    return f"{beside('leisure_fish', fish, 'leisure_fish_bait', 'fish')}, {1 + fixed(fish + waters, 4)} m deep"


def coin_value(coin: str, minted: str, grade: str = "fine") -> str:
    """What a collector pays."""
    if not re.fullmatch(r"\d{3,4}", minted.strip()):
        raise ToolError("write the year in figures")
    times = (3.0, 1.6, 0.7, 1.3, 0.5, 0.3)[place("leisure_grade", grade, "condition")]
    base = 2 + fixed(coin, 60) + max(0, 2000 - int(minted)) // 3
    return f"about {round(base * times)} euros"
