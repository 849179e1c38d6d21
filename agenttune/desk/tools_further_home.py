"""Further training tools: the household, the kitchen, the body, family."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.lookups import above_zero, beside
from agenttune.desk.tables import fixed, lists
from agenttune.desk.tools_numbers import read_date


def _known(pool: str, value: str, what: str) -> str:
    """A value of a list in small letters. Raises `ToolError` where the list has no such value."""
    key = value.strip().lower()
    if key not in {one.lower() for one in lists()[pool]}:
        raise ToolError(f'no {what} "{value}" in the table')
    return key


def plant_watering(plant: str) -> str:
    """How often a houseplant wants water."""
    return f"every {(3, 5, 7, 10, 14)[fixed(_known('houseplant', plant, 'houseplant'), 5)]} days"


def stain_removal(stain: str, cloth: str = "cotton") -> str:
    """What takes a stain out."""
    _known("stain", stain, "stain")
    way = ("gall soap", "salt and cold water", "white vinegar", "baking soda", "washing-up liquid")[fixed(stain, 5)]
    return f"Dab it with {way}, then rinse it {'lukewarm' if cloth.lower() in ('cotton', 'linen', 'denim') else 'cold'}."


def ingredient_swap(lacking: str) -> str:
    """What to take instead of an ingredient."""
    return beside("baking_good", lacking, "swap_with")


def food_keeping(leftover: str) -> str:
    """How long food keeps in the fridge."""
    return f"{2 + fixed(_known('leftover', leftover, 'food'), 3)} days"


def egg_boil(yolk: str, size: str = "medium") -> dict[str, Any]:
    """Minutes for an egg."""
    soft = 4 + 6 * any(word in yolk for word in ("hard", "firm", "set")) + (yolk in ("waxy", "creamy"))
    return {"result": soft + ("small", "medium", "large", "very large").index(_known("egg_size", size, "size of eggs"))}


def roast_time(meat: str, weight: float) -> dict[str, Any]:
    """Minutes in the oven: so many for each kilogram, and twenty more."""
    a_kilo = 40 + 5 * fixed(_known("joint", meat, "joint"), 4)
    return {"result": round(20 + a_kilo * above_zero(weight, "weight"))}


def grain_water(grain: str, grams: int) -> dict[str, Any]:
    """Millilitres of water for dry grain."""
    ratio = (1.5, 2, 2.5, 3)[fixed(_known("grain", grain, "grain"), 4)]
    return {"result": round(ratio * above_zero(grams, "amount"))}


def wallpaper_rolls(length: float, height: float) -> dict[str, Any]:
    """Rolls of 10.05 m by 0.53 m for a wall, in whole strips."""
    strips = math.ceil(above_zero(length, "length") / 0.53)
    return {"result": math.ceil(strips / max(1, int(10.05 / above_zero(height, "height"))))}


def robot_vacuum(area: str, power: str = "normal") -> str:
    """Starts the robot."""
    return f"It cleans on {_known('suction', power, 'suction power')} and will take {12 + fixed(area, 25)} minutes."


def window_blinds(blind: str, percent: int) -> str:
    """Moves a blind."""
    if not 0 <= percent <= 100:
        raise ToolError("a blind closes by 0 to 100 percent")
    return f"The {_known('blind', blind, 'blind')} blind has moved to {percent} percent."


def door_lock(door: str) -> str:
    """Locks a door."""
    return f"The bolt of the {_known('door', door, 'door')} is in place."


def coffee_brew(drink: str, cups: int = 1) -> str:
    """Brews coffee."""
    return f"The machine needs {round(above_zero(cups, 'number of cups')) * (30 + fixed(drink, 40))} seconds."


def oven_preheat(heat: int, mode: str = "fan") -> str:
    """Heats the oven."""
    if not 30 <= heat <= 300:
        raise ToolError("the oven heats to 30 to 300 degrees")
    return f"It takes {round(heat / 15)} minutes in {_known('oven_mode', mode, 'oven mode')} mode."


def prescription_refill(medicine: str, pharmacy: str = "Lion Pharmacy") -> str:
    """Orders a medicine again."""
    _known("pharmacy", pharmacy, "pharmacy")
    return f"You can collect it at the {pharmacy} in {24 * (1 + fixed(medicine, 3))} hours."


_DOCTORS = {
    "dentist": ("tooth",), "eye doctor": ("vision",), "skin doctor": ("rash", "mole", "hair"), "heart specialist": ("racing", "chest"),
    "ear, nose and throat doctor": ("ear", "throat", "dizziness"), "orthopaedist": ("neck", "knee", "ankle"), "urologist": ("bladder",),
    "allergist": ("fever",), "stomach specialist": ("heartburn",), "neurologist": ("numb",),
}  # fmt: skip


def doctor_kind(complaint: str) -> str:
    """The doctor for a complaint."""
    words = complaint.lower().replace("toothache", "tooth").split()
    for doctor, keys in _DOCTORS.items():
        if set(keys) & set(words):
            return doctor
    raise ToolError(f'no specialist for "{complaint}" in the table')


def feed_log(millilitres: int, hour: str) -> str:
    """Notes a feed."""
    return f"Noted: {round(above_zero(millilitres, 'amount'))} ml, {hour}."


def child_size(years: int, garment: str = "T-shirts") -> dict[str, Any]:
    """European size of a child's clothes, the height in cm."""
    if not 1 <= years <= 14:
        raise ToolError("the chart is for 1 to 14 years")
    return {"result": 80 + 6 * (years - 1) + 6 * (garment.lower() in ("jackets", "snowsuits", "raincoats"))}


def babysitter(evening: str, arrival: str) -> str:
    """Books a babysitter."""
    read_date(evening)
    return ("Mrs Brandt", "Lotte", "Sam", "Ines from next door")[fixed(evening + arrival, 4)]


def chore_assign(chore: str, member: str) -> str:
    """Puts a chore on the rota."""
    return f"The rota says: {member}, {chore}."


def pocket_money(child: str, amount: float) -> str:
    """Pays pocket money."""
    return f"{child} owns {above_zero(amount, 'amount') + fixed(child, 40):.2f} in all."


def pet_feeder(portion: int, bowl: str = "left") -> str:
    """Fills a bowl."""
    return f"The {_known('bowl', bowl, 'bowl')} bowl holds {round(above_zero(portion, 'portion'))} g."


def vet_visit(animal: str, date: str) -> str:
    """Books the vet."""
    read_date(date)
    return f"{8 + fixed(animal + date, 9)}:{15 * (1 + fixed(date, 3))}"


def pantry_check(staple: str) -> str:
    """What is left of a provision."""
    return ("nothing left", "one packet", "two packets", "plenty", "a small rest")[fixed(_known("staple", staple, "provision"), 5)]


def yarn_needed(garment: str, yarn: str = "medium") -> dict[str, Any]:
    """Balls of 50 g for a knitted piece."""
    heavy = {"thin": 0.8, "fine": 0.8, "medium": 1.0}.get(_known("yarn", yarn, "yarn"), 1.4)
    return {"result": math.ceil(int(beside("knitwear", garment, "knitwear_grams")) * heavy / 50)}


def care_label(symbol: str) -> str:
    """Meaning of a sign on a care label."""
    return beside("laundry_sign", symbol, "sign_meaning")


def drink_need(weight: float, effort: str = "light") -> dict[str, Any]:
    """Litres a day: 35 ml for each kilogram, more with effort."""
    more = {"light": 0.0, "moderate": 0.3, "heavy": 0.7, "intense": 1.0}[_known("effort", effort, "effort")]
    return {"result": round(above_zero(weight, "weight") * 0.035 + more, 1)}


def due_date(period: str) -> str:
    """Naegele's rule: 280 days after the first day of the last period."""
    return (read_date(period) + dt.timedelta(days=280)).isoformat()


def baby_names(initial: str, count: int = 3) -> str:
    """First names with a letter."""
    found = [name for name in lists()["first"] if name[0] == initial.strip()[:1].upper()]
    if not found:
        raise ToolError(f'no name begins with "{initial}"')
    return ", ".join(found[:count])


def appliance_cost(appliance: str, hours: float) -> str:
    """Cost at 35 cents a kilowatt hour."""
    watts = (90, 300, 600, 1200, 2000)[fixed(_known("appliance", appliance, "appliance"), 5)]
    return f"{watts * above_zero(hours, 'number of hours') / 1000 * 35:.1f} cents"


def trash_sort(waste: str) -> str:
    """The bin for a kind of waste."""
    return beside("rubbish", waste, "rubbish_goes_to")


def family_locate(relative: str) -> str:
    """Where a member of the family is."""
    return f"{('at home', 'on the way home', 'at the market', 'in the park')[fixed(relative, 4)]}, {1 + fixed(relative, 9)} min away"


def screen_limit(youngster: str, minutes: int) -> str:
    """Sets a limit."""
    return f"The devices of {youngster} will lock after {round(above_zero(minutes, 'limit'))} minutes."


def allergen_check(product: str, allergen: str) -> str:
    """Whether the usual recipe of a food has an allergen."""
    has = _known("allergen", allergen, "allergen") in beside("product_allergy", product, "allergens_within").split()
    return f"{'Yes, it is usually in there' if has else 'Not by the usual recipe, but read the pack'}."


def craftsman(damage: str) -> str:
    """Who repairs a damage, and a number."""
    who = {"tap": "the plumber", "drain": "the plumber", "radiator": "the plumber", "boiler": "the plumber", "roof": "the roofer"}
    who |= {"window": "the glazier", "socket": "the electrician", "fuse": "the electrician", "lock": "the locksmith", "tile": "the tiler"}
    who |= {"paint": "the painter", "chimney": "the chimney sweep", "carpet": "the floor layer", "floorboard": "the floor layer"}
    last = damage.lower().split()[-1]
    return f"{who.get(last, 'the joiner')}, 555-{1000 + fixed(last, 9000)}"


def home_announce(message: str) -> str:
    """Speaks a message."""
    return f"The speakers were on for {2 + len(message) // 12} seconds."
