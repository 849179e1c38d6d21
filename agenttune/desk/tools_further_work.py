"""Further training tools: work, money, paperwork, language."""

from __future__ import annotations

import datetime as dt
from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.tables import fixed, lists
from agenttune.desk.tools_numbers import TODAY, read_date, short

_DONE = {"ok": True}
_LUNCH = ("lentil soup", "fish and chips", "pasta with tomatoes", "vegetable curry", "meatballs", "pancakes", "pea risotto")
_RIGHT = {
    "recieve": "receive", "seperate": "separate", "definately": "definitely", "accomodation": "accommodation", "rythm": "rhythm",
    "neccessary": "necessary", "tomorow": "tomorrow", "wierd": "weird", "occured": "occurred", "goverment": "government",
    "grammer": "grammar",
}  # fmt: skip
_PLURALS = {
    "mouse": "mice", "child": "children", "wolf": "wolves", "leaf": "leaves", "sheep": "sheep", "tooth": "teeth", "foot": "feet",
    "knife": "knives", "goose": "geese", "cactus": "cacti", "loaf": "loaves", "deer": "deer",
}  # fmt: skip
_IDIOMS = {
    "spill the beans": "tell a secret", "break the ice": "get people talking", "a piece of cake": "something very easy",
    "under the weather": "a bit ill", "bite the bullet": "do what is unpleasant", "hit the sack": "go to bed",
    "once in a blue moon": "very rarely", "kick the bucket": "die", "pull my leg": "joke with me", "on thin ice": "in a risky spot",
    "the last straw": "the one trouble too many", "cost an arm and a leg": "be very expensive",
    "let the cat out of the bag": "tell a secret by mistake", "beat around the bush": "avoid the point",
    "burn the midnight oil": "work late at night",
}  # fmt: skip
_WEDDINGS = {
    1: "paper", 2: "cotton", 3: "leather", 4: "linen", 5: "wood", 6: "iron", 8: "bronze", 10: "tin", 12: "silk", 15: "crystal",
    20: "china", 25: "silver", 30: "pearl", 40: "ruby", 50: "gold", 60: "diamond",
}  # fmt: skip
_INVENTORS = {
    "the telephone": "Alexander Graham Bell, 1876", "the steam engine": "Thomas Newcomen, 1712",
    "the zip fastener": "Gideon Sundback, 1913",
    "the light bulb": "Thomas Edison, 1879", "dynamite": "Alfred Nobel, 1867", "the printing press": "Johannes Gutenberg, about 1450",
    "the ballpoint pen": "Laszlo Biro, 1938", "the telescope": "Hans Lippershey, 1608", "the microwave oven": "Percy Spencer, 1945",
    "penicillin": "Alexander Fleming, 1928", "the typewriter": "Christopher Sholes, 1868", "the bicycle": "Karl von Drais, 1817",
    "the safety pin": "Walter Hunt, 1849", "barbed wire": "Joseph Glidden, 1874", "the parachute": "Louis-Sebastien Lenormand, 1783",
    "the dishwasher": "Josephine Cochrane, 1886",
}  # fmt: skip
_BATTLES = {
    "hastings": "1066", "waterloo": "1815", "agincourt": "1415", "trafalgar": "1805", "austerlitz": "1805", "marathon": "490 BC",
    "cannae": "216 BC", "lepanto": "1571", "gettysburg": "1863", "verdun": "1916", "stalingrad": "1942", "bannockburn": "1314",
    "leipzig": "1813", "salamis": "480 BC", "bosworth": "1485",
}  # fmt: skip
_CODES = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa Quebec Romeo Sierra Tango "
    "Uniform Victor Whiskey X-ray Yankee Zulu"
)
_CODE_WORDS = {word[0].lower(): word for word in _CODES.split(" ")}


def _pick(key: str, values: tuple[str, ...]) -> str:
    return values[fixed(key, len(values))]


def _known(table: dict[str, str], key: str, what: str) -> str:
    found = table.get(key.strip().lower())
    if found is None:
        raise ToolError(f'no {what} "{key}" in the table')
    return found


def overtime_pay(extra_hours: float, hourly_wage: float) -> dict[str, Any]:
    """Pay at one and a half wages."""
    return {"result": short(1.5 * extra_hours * hourly_wage)}


def leave_ask(first_day: str, length_days: int) -> dict[str, Any]:
    """Hand in an application for leave."""
    read_date(first_day)
    return {"ok": True, "id": 1000 + fixed(f"{first_day} {length_days}", 9000)}


def vacancies(occupation: str, near_city: str = "") -> str:
    """Employers out of a fixed table."""
    return f"{_pick(occupation + near_city, lists()['work_client'])}, {1 + fixed(near_city + occupation, 4)} open"


def typical_salary(career: str) -> dict[str, Any]:
    """Yearly pay out of a fixed table."""
    return {"result": 18000 + 500 * fixed(career, 160)}


def letter_grade(reached: int) -> str:
    """A from 90 percent, then a letter each ten percent."""
    if not 0 <= reached <= 100:
        raise ToolError(f"{reached} is no percentage from 0 to 100")
    return "FFFFFEDCBAA"[reached // 10]


def exam_day(school_subject: str) -> str:
    """Days in May and June out of a fixed table."""
    return f"{1 + fixed(school_subject, 28)} {_pick(school_subject + ' exam', ('May', 'June'))}"


def pupil_excuse(pupil: str, reason: str) -> dict[str, Any]:
    """Excuse a child."""
    return {**_DONE, "id": 1 + fixed(pupil + reason, 500)}


def canteen_menu(lunch_day: str) -> str:
    """Lunch out of a fixed table."""
    return _pick(f"canteen {lunch_day}", _LUNCH)


def print_copies(document: str, copies: int) -> dict[str, Any]:
    """Put a document in the printer's queue."""
    if not 1 <= copies <= 99:
        raise ToolError("1 to 99 copies can be printed")
    return {**_DONE, "place_in_queue": 1 + fixed(f"{document} {copies}", 5)}


def department_head(department: str) -> str:
    """Names out of a fixed table."""
    return f"{_pick(department, lists()['first'])} {_pick(department, lists()['last'])}"


def typing_speed(typed_words: int, typed_minutes: int) -> dict[str, Any]:
    """Words per minute."""
    if typed_minutes <= 0:
        raise ToolError("the minutes must be more than 0")
    return {"result": round(typed_words / typed_minutes, 1)}


def invoice_make(client: str, sum_due: float) -> dict[str, Any]:
    """Number an invoice."""
    return {**_DONE, "invoice": f"R-{10000 + fixed(f'{client} {sum_due}', 90000)}"}


def savings_growth(deposit: float, yearly_interest: float, for_years: int) -> dict[str, Any]:
    """Compound interest, once a year."""
    if for_years < 0:
        raise ToolError("the number of years must not be negative")
    return {"result": round(deposit * (1 + yearly_interest / 100) ** for_years, 2)}


def old_money(old_sum: float, back_in: str) -> dict[str, Any]:
    """An old sum today, at three percent of inflation a year."""
    if not (len(back_in.strip()) == 4 and back_in.strip().isdecimal()):
        raise ToolError(f'"{back_in}" is no year of four digits')
    return {"result": round(old_sum * 1.03 ** (TODAY.year - int(back_in)), 2)}


def iban_check(iban: str) -> str:
    """Check digits by ISO 13616: the letters as numbers, the first four signs last, modulo 97."""
    plain = iban.replace(" ", "").upper()
    if not (plain.isascii() and plain.isalnum() and len(plain) > 4):
        raise ToolError(f'"{iban}" is no account number')
    return "valid" if int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1 else "not valid"


def card_block(last_digits: str) -> dict[str, Any]:
    """Block a card."""
    if not (len(last_digits) == 4 and last_digits.isdecimal()):
        raise ToolError("the last four digits are needed")
    return {**_DONE, "case": 10000 + fixed(last_digits, 90000)}


def insurance_quote(insured: str, insured_value: float) -> dict[str, Any]:
    """Two to six percent of the value, by the object."""
    return {"result": round(insured_value * (20 + fixed(insured, 41)) / 1000, 2)}


def lawyer_find(legal_field: str) -> str:
    """Names out of a fixed table."""
    return f"{_pick(legal_field, lists()['last'])} and {_pick(legal_field + ' law', lists()['last'])}, {1 + fixed(legal_field, 9)} km away"


def notice_period(contract: str) -> str:
    """Weeks or months out of a fixed table."""
    return _pick(contract, ("2 weeks", "4 weeks", "6 weeks", "1 month", "2 months", "3 months"))


def return_purchase(goods: str, return_reason: str) -> dict[str, Any]:
    """Number a return."""
    return {**_DONE, "label": f"RET{1000 + fixed(goods + return_reason, 9000)}"}


def coupon_check(coupon: str) -> str:
    """Discounts out of a fixed table."""
    return _pick(coupon, ("no longer valid", "5 percent off", "10 percent off", "20 percent off", "free shipping"))


def warranty_check(device: str, bought_on: str) -> str:
    """Two years from the purchase."""
    if not device.strip():
        raise ToolError("a device is needed")
    return f"under warranty until {read_date(bought_on) + dt.timedelta(days=730)}"


def tv_guide(channel: str, shown_on: str = "today") -> str:
    """Evening programme out of a fixed table."""
    shows = ("a crime story", "a quiz", "a nature film", "the football report", "a comedy", "a concert", "a talk show")
    return f"20:15 {_pick(channel + shown_on, shows)}, 22:00 {_pick(shown_on + channel, ('the news', 'a documentary', 'a western'))}"


def headlines(section: str) -> str:
    """The top story out of a fixed table."""
    stories = ("calm week expected", "new rules from autumn on", "record year ahead", "long dispute settled", "experts disagree")
    return _pick(section, stories)


def cite_source(writer: str, work: str, published: str) -> str:
    """Surname, first name (year). Title."""
    *first, last = writer.split() or [""]
    return f"{', '.join([last, ' '.join(first)] if first else [last])} ({published}). {work}."


def spell_check(spelling: str) -> str:
    """Common mistakes; everything else is taken for right."""
    right = _RIGHT.get(spelling.strip().lower())
    return f"wrong, it is {right}" if right else f"{spelling} is right"


def plural_form(noun: str) -> str:
    """Irregular plurals, else by the ending."""
    name = noun.strip().lower()
    if name in _PLURALS:
        return _PLURALS[name]
    if name.endswith("y") and name[-2:-1] not in tuple("aeiou"):
        return f"{name[:-1]}ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh", "o")) else "s")


def idiom_meaning(idiom: str) -> str:
    """Meaning out of a table."""
    return _known(_IDIOMS, idiom, "idiom")


def name_origin(forename: str) -> str:
    """Origin out of a fixed table."""
    return _pick(forename, ("Latin, the bright one", "Greek, the gift", "Germanic, the brave one", "Hebrew, the blessed one"))


def invite_guest(invitee: str, occasion: str) -> dict[str, Any]:
    """Send an invitation."""
    return {**_DONE, "guest_number": 1 + fixed(invitee + occasion, 60)}


def wedding_anniversary(married: int) -> str:
    """The best known name that the years have reached."""
    reached = [year for year in _WEDDINGS if year <= married]
    if not reached:
        raise ToolError("the years of marriage start at 1")
    return _WEDDINGS[reached[-1]] if reached[-1] == married else f"between {_WEDDINGS[reached[-1]]} and the next jubilee"


def inventor(invention: str) -> str:
    """Inventor and year out of a table."""
    return _known(_INVENTORS, invention, "invention")


def battle_year(battle: str) -> str:
    """Year out of a table."""
    return _known(_BATTLES, battle, "battle")


def spelling_alphabet(surname: str) -> str:
    """Code words of the NATO alphabet."""
    return " ".join(_CODE_WORDS.get(letter, letter) for letter in surname.lower())


def magazine_subscribe(magazine: str, months: int) -> dict[str, Any]:
    """Order a magazine."""
    if not 1 <= months <= 36:
        raise ToolError("1 to 36 months can be ordered")
    return {**_DONE, "subscription": 1000 + fixed(f"{magazine} {months}", 9000)}
