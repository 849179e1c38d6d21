"""Further training tools: school, sciences in class, languages, libraries, geography, measuring."""

from __future__ import annotations

import math
import re
from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.lookups import above_zero, beside, place
from agenttune.desk.tables import fixed, lists
from agenttune.desk.tools_numbers import read_date


def fraction_reduce(top: int, bottom: int) -> str:
    """A fraction in lowest terms."""
    if bottom == 0:
        raise ToolError("nothing can be divided by zero")
    common = math.gcd(top, bottom)
    return f"{top // common}/{bottom // common}" if bottom != common else str(top // common)


def quadratic_solve(a: int, b: int, c: int) -> str:
    """Real roots of a quadratic equation."""
    if a == 0:
        raise ToolError("without x squared it is no quadratic equation")
    inside = b * b - 4 * a * c
    if inside < 0:
        return "no real x"
    low, high = sorted((-b + sign * math.sqrt(inside)) / (2 * a) for sign in (1, -1))
    return f"x = {low:.3g}" if low == high else f"x = {low:.3g} or x = {high:.3g}"


def tank_volume(radius: float, height: float) -> dict[str, Any]:
    """Litres in a cylinder measured in centimetres."""
    return {"result": round(math.pi * above_zero(radius, "radius") ** 2 * above_zero(height, "height") / 1000, 2)}


def triangle_angle(first: int, second: int) -> dict[str, Any]:
    """The third angle of a triangle."""
    if min(first, second) <= 0 or first + second >= 180:
        raise ToolError("two angles of a triangle are above zero and below 180 degrees together")
    return {"result": 180 - first - second}


_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def number_words(figure: int) -> str:
    """A number in English words."""
    if not 0 <= figure < 1_000_000:
        raise ToolError("it writes numbers from 0 to 999,999")
    return _said(figure)


def _said(figure: int) -> str:
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if figure >= size:
            high, low = divmod(figure, size)
            return f"{_said(high)} {name}" + (f"{' and' if low < 100 else ''} {_said(low)}" if low else "")
    if figure < 20:
        return _ONES[figure]
    return _TENS[figure // 10 - 2] + (f"-{_ONES[figure % 10]}" if figure % 10 else "")


def times_row(factor: int, rows: int = 10) -> str:
    """The first multiples of a number."""
    if not 1 <= rows <= 100:
        raise ToolError("a row has 1 to 100 multiples")
    return ", ".join(str(factor * one) for one in range(1, rows + 1))


def prime_factors(integer: int) -> str:
    """A whole number as a product of primes."""
    if not 2 <= integer < 10**9:
        raise ToolError("it takes whole numbers from 2 to a thousand million")
    found, divisor = [], 2
    while divisor * divisor <= integer:
        while integer % divisor == 0:
            found.append(divisor)
            integer //= divisor
        divisor += 1
    return " × ".join(str(one) for one in [*found, *([integer] if integer > 1 else [])])


def shadow_height(shadow: float, person: int, own: int) -> dict[str, Any]:
    """The height of what casts a shadow, by the shadow of a person."""
    return {"result": round(above_zero(shadow, "shadow") * above_zero(person, "height") / above_zero(own, "shadow"), 1)}


def paper_format(format: str) -> str:
    """The size of a sheet of paper."""
    return beside("study_format", format, "study_format_size", "paper format")


def measuring_device(measured: str) -> str:
    """The instrument for a quantity."""
    return beside("study_quantity", measured, "study_quantity_device", "instrument for")


def map_distance(centimetres: float, ratio: str) -> dict[str, Any]:
    """Kilometres on the ground."""
    one, _, many = ratio.replace(",", "").replace(" ", "").partition(":")
    if one != "1" or not many.isdigit():
        raise ToolError('a scale is written like "1:25,000"')
    return {"result": round(above_zero(centimetres, "length") * int(many) / 100_000, 3)}


def slope_percent(climb: int, run: int) -> dict[str, Any]:
    """Metres up for each hundred metres along."""
    return {"result": round(100 * climb / above_zero(run, "distance"), 1)}


def lever_balance(load: float, arm: float, counter: float) -> dict[str, Any]:
    """The second arm of a lever in balance."""
    return {"result": round(above_zero(load, "weight") * above_zero(arm, "arm") / above_zero(counter, "weight"), 2)}


def pendulum_swing(string: float) -> dict[str, Any]:
    """Seconds for one swing to and fro."""
    return {"result": round(2 * math.pi * math.sqrt(above_zero(string, "length") / 981), 2)}


def float_test(solid: str, bath: str = "water") -> str:
    """Whether a material floats in a liquid."""
    density = float(beside("study_solid", solid, "study_solid_density", "material"))
    return "floats" if density < float(beside("study_bath", bath, "study_bath_density", "liquid")) else "sinks"


_MASSES = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "Na": 22.99, "Mg": 24.305, "S": 32.06, "Cl": 35.45, "K": 39.098, "Ca": 40.078,
    "Mn": 54.938, "Fe": 55.845, "Cu": 63.546,
}  # fmt: skip


def flame_test(salt: str) -> str:
    """The colour of a flame with a salt in it."""
    return beside("study_salt", salt, "study_salt_colour", "salt")


def solubility(substance: str, warmth: int = 20) -> dict[str, Any]:
    """Grams in 100 ml of water, one hundredth more for each degree above 20."""
    if not 0 <= warmth <= 100:
        raise ToolError("water is liquid between 0 and 100 degrees")
    return {"result": round(float(beside("study_solute", substance, "study_solute_grams", "substance")) * (0.8 + warmth / 100), 1)}


def reagent_cabinet(reagent: str) -> str:
    """The cabinet for a chemical."""
    return beside("study_reagent", reagent, "study_reagent_place", "rule for")


def lab_set(apparatus: str, sets: int, lesson_day: str = "") -> str:
    """Orders apparatus."""
    when = f"on {read_date(lesson_day).isoformat()}" if lesson_day else "next lesson"
    return f"{above_zero(sets, 'number')} {apparatus} will be on trolley {1 + fixed(apparatus, 4)} {when}."


def density_of(body_grams: int, displaced: int) -> dict[str, Any]:
    """Mass by volume."""
    return {"result": round(above_zero(body_grams, "mass") / above_zero(displaced, "volume"), 2)}


def dive_load(depth: int, water: str = "sea water") -> dict[str, Any]:
    """Bar under water, the air above included."""
    metre = 0.1 if water.lower() in ("sea water", "salt water") else 0.098
    return {"result": round(1.013 + metre * above_zero(depth, "depth"), 2)}


def neighbour_lands(nation: str) -> str:
    """The neighbours of a country."""
    return beside("study_nation", nation, "study_nation_around", "country")


def flag_look(waving: str) -> str:
    """What a flag looks like."""
    return beside("study_flag", waving, "study_flag_look", "flag of")


def compass_turn(heading: str, turn: int) -> dict[str, Any]:
    """Bearing in degrees after a turn to the right."""
    return {"result": (45 * place("study_heading", heading, "direction") + turn) % 360}


def book_hold(title: str, counter_at: str = "Central") -> str:
    """Puts a book on hold."""
    return f"{1 + fixed(title, 6)}, to be collected at {counter_at}"


def overdue_loan(medium: str, late: int) -> str:
    """Ten to thirty cents a day, ten euros at most."""
    cents = 10 + 5 * fixed(medium, 5)
    return f"{min(10, cents * above_zero(late, 'number of days') / 100):.2f} euros"


def reading_seat(seat: str, learning_day: str) -> str:
    """Books a seat."""
    return str(1 + fixed(f"{seat} {read_date(learning_day)}", 80))


def isbn_check(isbn: str) -> str:
    """Whether the check digit of an ISBN is right."""
    digits = [int(one) for one in re.sub(r"[ -]", "", isbn) if one.isdigit()]
    if len(digits) != 13:
        raise ToolError("an ISBN has 13 digits")
    return "valid" if sum(digits[::2] + [3 * one for one in digits[1::2]]) % 10 == 0 else "not valid, one digit is wrong"


def verb_form(verb: str, tense: str) -> str:
    """The past tense or past participle of an irregular verb."""
    place("study_tense", tense, "form")
    return beside("study_verb", verb, "study_verb_forms", "verb").split()["participle" in tense.lower()]


def noun_article(noun: str) -> str:
    """The article of a German noun."""
    return beside("study_german", noun, "study_german_article", "German noun")


def flashcard_add(term: str, deck: str) -> str:
    """Adds a card to a deck."""
    return f'"{term}" is card {12 + fixed(deck, 80)} of {deck}.'


def tandem_find(tongue: str, weekday: str = "Monday") -> str:
    """A partner to speak a language with."""
    names = lists()["study_partner"]
    return f"{names[fixed(tongue, len(names))]} ({tongue}, {weekday})"


def hello_in(spoken: str, moment: str = "") -> str:
    """A greeting in a language."""
    if moment:
        place("study_moment", moment, "occasion")
    return beside("study_tongue", spoken, "study_tongue_hello", "greeting in")


def greek_letter(letter: str, height: str = "small") -> str:
    """A Greek letter by its name."""
    names = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi psi omega"
    if letter.strip().lower() not in names.split():
        raise ToolError(f'no Greek letter is called "{letter}"')
    sign = "αβγδεζηθικλμνξοπρστυφχψω"[names.split().index(letter.strip().lower())]
    return sign.upper() if lists()["study_case"][place("study_case", height, "height")] == "capital" else sign


def dictation_start(level: str, sentences: int = 5) -> str:
    """Starts a dictation."""
    place("study_level", level, "level")
    return f"{above_zero(sentences, 'number of sentences')} sentences at {level}, each is read twice."


def class_hours(form: str, weekday: str) -> str:
    """The lessons of a class on a weekday."""
    place("study_weekday", weekday, "lesson on")
    subjects = lists()["study_subject"]
    first = fixed(f"{form} {weekday}", len(subjects))
    return ", ".join(subjects[(first + 3 * step) % len(subjects)] for step in range(5))


def homework_note(course: str, task: str, due: str = "") -> str:
    """Notes homework."""
    return f"{course}: {task}{f', due on {read_date(due).isoformat()}' if due else ''}."


def parents_evening(teacher: str, slot: str) -> str:
    """Books a talk with a teacher."""
    return f"room {101 + fixed(teacher, 60)}, {5 + 5 * (1 + fixed(slot, 2))} minutes"


def stand_in(ill_teacher: str, form: str = "") -> str:
    """The teacher who stands in for another."""
    teachers = [one for one in lists()["study_teacher"] if one.lower() != ill_teacher.lower()]
    return teachers[fixed(ill_teacher + form, len(teachers))]


def projector_switch(classroom: str, source: str = "the laptop") -> str:
    """Switches on a projector."""
    place("study_source", source, "source")
    return f"The projector in {classroom} shows {source}."


def split_class(children: int, size: int) -> str:
    """Groups of nearly the same size."""
    groups = max(1, above_zero(children, "number of children") // above_zero(size, "size of a group"))
    small, larger = divmod(children, groups)
    return f"{groups - larger} groups of {small}" + (f" and {larger} of {small + 1}" if larger else "")


def mark_entry(pupil: str, field: str, mark: str) -> str:
    """Enters a mark."""
    place("study_mark", mark, "mark")
    return f"{mark} in {field}, mark number {2 + fixed(pupil + field, 5)} this term"


def tutor_find(weak_in: str, per_hour: int = 30) -> str:
    """A tutor for a subject."""
    names = ("Hannah", "Mr Osei", "Viktor", "Ms Tan")
    return f"{names[fixed(weak_in, len(names))]} ({weak_in}, {min(18, above_zero(per_hour, 'price'))} an hour)"
