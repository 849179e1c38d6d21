"""Further training tools: nature, science, technology."""

from __future__ import annotations

import math
from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.lookups import above_zero
from agenttune.desk.tables import fixed

_CALLS = ("tsip tsip tsip", "a rising whistle", "kra kra", "twee-oo, twee-oo", "a soft hoo", "a dry rattle", "chak chak", "a long trill")
_TREES = ("lime", "beech", "willow", "maple", "ash", "pine", "oak", "birch", "ginkgo", "cypress", "hazel", "holly", "elm", "poplar")
_POISON = ("fly agaric", "death cap", "sulphur tuft", "panther cap", "destroying angel", "false morel", "devil's bolete")
_MOHS = {
    "talc": 1, "gypsum": 2, "calcite": 3, "fluorite": 4, "apatite": 5, "feldspar": 6, "quartz": 7, "topaz": 8, "corundum": 9,
    "diamond": 10, "opal": 6, "jade": 6.5, "malachite": 4, "pyrite": 6.5, "garnet": 7, "turquoise": 5.5, "amber": 2.5, "obsidian": 5.5,
    "hematite": 6, "lapis lazuli": 5.5, "beryl": 7.5, "tourmaline": 7.5,
}  # fmt: skip
_PERIODS = {
    "cambrian": (539, 485), "ordovician": (485, 444), "silurian": (444, 419), "devonian": (419, 359), "carboniferous": (359, 299),
    "permian": (299, 252), "triassic": (252, 201), "jurassic": (201, 145), "cretaceous": (145, 66), "paleocene": (66, 56),
    "eocene": (56, 34), "oligocene": (34, 23), "miocene": (23, 5.3), "pliocene": (5.3, 2.6), "pleistocene": (2.6, 0.01),
    "holocene": (0.01, 0),
}  # fmt: skip
_RINGS = ("black", "brown", "red", "orange", "yellow", "green", "blue", "violet", "grey", "white")
_PH = {
    "lemon juice": 2, "vinegar": 3, "tomato juice": 4, "milk": 6.5, "soap water": 10, "black coffee": 5, "cola": 2.5, "bleach": 12.5,
    "rainwater": 5.6, "sea water": 8, "beer": 4.5, "egg white": 9, "ammonia": 11, "red wine": 3.5, "stomach juice": 1.5,
    "limewater": 12, "orange squash": 3.5, "buttermilk": 4.5, "mineral water": 7, "drain opener": 14,
}  # fmt: skip
_STATUS = {
    "200": "all is well", "201": "something was created", "204": "done, nothing to show", "301": "moved for good",
    "302": "found elsewhere for now", "304": "not changed since last time", "400": "the request makes no sense",
    "401": "you must log in", "403": "you may not see this", "404": "not found", "405": "this method is not allowed",
    "408": "the request took too long", "410": "gone for good", "418": "the server is a teapot", "429": "too many requests",
    "500": "the server failed", "502": "a server behind it answered badly", "503": "not available now",
    "504": "a server behind it is too slow",
}  # fmt: skip
_NEWTON_METRES = {
    "m3": 1.3, "m4": 2.9, "m5": 5.7, "m6": 9.9, "m8": 24, "m10": 48, "m12": 83, "m14": 132, "m16": 200, "m18": 275, "m20": 390, "m24": 675,
}  # fmt: skip
_GRADES = {"5.6": 0.47, "8.8": 1.0, "10.9": 1.4, "12.9": 1.7}
_HALF_LIVES = {
    "caesium-137": 30.1, "strontium-90": 28.8, "carbon-14": 5730, "cobalt-60": 5.27, "tritium": 12.3, "plutonium-239": 24110,
    "radium-226": 1600, "americium-241": 432, "krypton-85": 10.8, "lead-210": 22.2, "sodium-22": 2.6, "nickel-63": 101,
}  # fmt: skip
_BEAUFORT = (1, 6, 12, 20, 29, 39, 50, 62, 75, 89, 103, 118)
_TOGETHER = {
    "lions": "pride", "crows": "murder", "fish": "school", "wolves": "pack", "bees": "swarm", "whales": "pod", "geese": "gaggle",
    "owls": "parliament", "ants": "colony", "dolphins": "pod", "monkeys": "troop", "elephants": "herd", "penguins": "waddle",
    "kittens": "litter", "crocodiles": "bask", "flamingos": "flamboyance", "foxes": "skulk", "jellyfish": "smack", "moles": "labour",
    "rhinos": "crash",
}  # fmt: skip


def _entry(found: dict[str, Any], key: str, what: str) -> Any:
    if key.strip().lower() not in found:
        raise ToolError(f'no {what} "{key}" in the table')
    return found[key.strip().lower()]


def bird_call(bird: str) -> str:
    """The voice of a bird."""
    return _CALLS[fixed(bird, len(_CALLS))]


def leaf_identify(leaf: str) -> str:
    """A tree that has such leaves."""
    return _TREES[fixed(leaf, len(_TREES))]


def mushroom_edible(mushroom: str) -> str:
    """Whether a mushroom can be eaten."""
    return "poisonous" if mushroom.strip().lower() in _POISON else "edible when cooked"


def tide_times(port: str, day: str = "today") -> str:
    """High and low water out of a fixed table."""
    start = fixed(port + day, 360)
    return f"high at {start // 60:02d}:{start % 60:02d}, low at {start // 60 + 6:02d}:{start % 60:02d}"


def quake_list(country: str, magnitude: float = 0) -> list[str]:
    """Earthquakes out of a fixed table."""
    sizes = [2 + fixed(f"{country}{number}", 50) / 10 for number in range(3)]
    return [f"magnitude {size}" for size in sizes if size >= magnitude] or ["none"]


def mineral_hardness(mineral: str) -> dict[str, Any]:
    """Hardness by Mohs."""
    return {"result": _entry(_MOHS, mineral, "mineral")}


def geologic_age(period: str) -> str:
    """Beginning and end of a period."""
    start, end = _entry(_PERIODS, period, "period")
    return f"from {start} to {end} million years ago"


def ohm_current(volts: float, ohms: float) -> dict[str, Any]:
    """Current by Ohm's law."""
    return {"result": float(f"{volts / above_zero(ohms, 'resistance'):.3g}")}


def resistor_bands(bands: str) -> str:
    """Ohms of three coloured rings."""
    found = [_RINGS.index(name) for name in bands.lower().replace(",", " ").split() if name in _RINGS]
    if len(found) < 3:
        raise ToolError(f'"{bands}" is not three colours of rings')
    return f"{(10 * found[0] + found[1]) * 10 ** found[2]} ohms"


def fall_time(height: float) -> dict[str, Any]:
    """Seconds of a free fall: the root of 2 h / g."""
    return {"result": round(math.sqrt(2 * above_zero(height, "height") / 9.81), 2)}


def boiling_point(height: float) -> dict[str, Any]:
    """Degrees Celsius, one less for each 300 metres."""
    return {"result": round(100 - height / 300, 1)}


def thunder_distance(seconds: float) -> dict[str, Any]:
    """Kilometres at 343 metres a second."""
    return {"result": round(above_zero(seconds, "time") * 0.343, 1)}


def dilute(amount: float, strength: float, wanted: float) -> dict[str, Any]:
    """Water for a weaker solution."""
    if above_zero(wanted, "wanted strength") > strength:
        raise ToolError("water cannot make it stronger")
    return {"result": round(amount * strength / wanted - amount)}


def acidity(liquid: str) -> str:
    """The pH of a liquid."""
    value = _entry(_PH, liquid, "liquid")
    return f"pH {value}, {'acid' if value < 6.9 else 'neutral' if value < 7.1 else 'alkaline'}"


def mix_safety(first: str, second: str) -> str:
    """Whether two cleaners may meet."""
    if first.strip().lower() == second.strip().lower():
        raise ToolError("two different products are needed")
    pair = " ".join(sorted((first.lower(), second.lower())))
    both = "bleach" in pair or "chlorine" in pair or "drain" in pair
    return "dangerous, keep them apart" if both or fixed(pair, 3) == 0 else "harmless"


def download_time(size: float, rate: float) -> dict[str, Any]:
    """Minutes for gigabytes at megabits a second."""
    return {"result": round(size * 8000 / above_zero(rate, "rate") / 60, 1)}


def dns_lookup(domain: str) -> str:
    """An address of the block kept for examples, RFC 5737."""
    if "." not in domain:
        raise ToolError(f'"{domain}" is not a domain')
    return f"203.0.113.{1 + fixed(domain, 254)}"


def http_code(code: str) -> str:
    """Meaning of a status code, in short."""
    return str(_entry(_STATUS, code, "status code"))


def shortcut(action: str, program: str) -> str:
    """A shortcut out of a fixed table."""
    return f"{('Ctrl', 'Ctrl+Shift', 'Alt', 'Ctrl+Alt')[fixed(program, 4)]}+{'BDEGHJKLMPRUXYZ'[fixed(action, 15)]}"


def dashboard_symbol(symbol: str) -> str:
    """What a symbol means for the driver."""
    text = symbol.lower()
    return "stop at once" if "red" in text else "have it checked soon" if "yellow" in text else "just for your information"


def bolt_torque(bolt: str, grade: str = "8.8") -> dict[str, Any]:
    """Newton metres for a metric bolt."""
    return {"result": round(_entry(_NEWTON_METRES, bolt, "bolt") * _entry(_GRADES, grade, "grade"), 1)}


def glue_choice(first: str, second: str) -> str:
    """A glue for two materials."""
    glues = ("epoxy", "wood glue", "contact cement", "super glue", "hot glue", "silicone")
    return glues[fixed(" ".join(sorted((first.lower(), second.lower()))), len(glues))]


def hypotenuse(a: float, b: float) -> dict[str, Any]:
    """The longest side of a right triangle."""
    return {"result": round(math.hypot(above_zero(a, "first leg"), above_zero(b, "second leg")), 2)}


def combinations(total: int, chosen: int) -> dict[str, Any]:
    """Ways to choose without order."""
    if not 0 <= chosen <= total:
        raise ToolError("no more can be chosen than there are")
    return {"result": math.comb(total, chosen)}


def half_life(isotope: str, years: float) -> str:
    """What is left of an isotope."""
    return f"{100 * 0.5 ** (years / _entry(_HALF_LIVES, isotope, 'isotope')):.3g} %"


def service_restart(service: str, host: str) -> dict[str, Any]:
    """Restart a service."""
    return {"result": "running", "pid": 1000 + fixed(service + host, 30000)}


def backup_folder(folder: str, drive: str) -> dict[str, Any]:
    """Copy a folder."""
    return {"result": f"{10 + fixed(folder, 4000)} files", "free_gb": 5 + fixed(drive, 900)}


def sighting_report(species: str, place: str, count: int = 1) -> dict[str, Any]:
    """Note wild animals."""
    return {"result": f"W{1000 + fixed(f'{species}{place}{count}', 9000)}"}


def collective_noun(creature: str) -> str:
    """The word for many of one kind."""
    return str(_entry(_TOGETHER, creature, "creature"))


def river_level(river: str) -> str:
    """Height of a river out of a fixed table."""
    height = 60 + fixed(river, 640)
    return f"{height} cm, {'flooding' if height > 600 else 'normal' if height > 150 else 'very low'}"


def wind_force(kmh: float) -> dict[str, Any]:
    """Beaufort number of a wind."""
    return {"result": sum(kmh >= limit for limit in _BEAUFORT)}


def git_branch(branch: str, base: str = "main") -> str:
    """Create a branch."""
    if " " in branch.strip():
        raise ToolError("a branch name has no spaces")
    return f"{branch} created from {base} at {fixed(base, 16**6):06x}"
