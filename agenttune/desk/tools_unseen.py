"""Tools of the two "unseen" halves (development and held-out): small stand-ins, run once for each expected call."""

from __future__ import annotations

from agenttune.desk.tables import fixed


def _table(*values: object) -> str:
    return f"entry {fixed(' '.join(map(str, values)), 1000)}"


def rhymes(lexeme: str) -> str:
    """Rhymes."""
    return _table(lexeme)


def sunrise(locality: str) -> str:
    """Sunrise and sunset."""
    return f"0{5 + fixed(locality, 3)}:12 to 1{6 + fixed(locality, 4)}:48"


def element(element: str) -> str:
    """Symbol and mass."""
    return _table(element)


def planet(planet: str) -> str:
    """Facts of a planet."""
    return _table(planet)


def parking(hours: float, zone: str) -> str:
    """Fee."""
    return f"{hours * (1 + fixed(zone, 3)):.2f}"


def fuel(kilometres: float, consumption: float) -> float:
    """Litres."""
    return round(kilometres * consumption / 100, 1)


def pig_latin(phrase: str) -> str:
    """Each word with its first letter behind."""
    return " ".join(f"{word[1:]}{word[0]}ay" for word in phrase.lower().split())


def transpose(chord: str, semitones: int) -> str:
    """Another chord."""
    return _table(chord, semitones)


def restaurant_table(restaurant: str, seats: int) -> str:
    """Seats held."""
    return f"{seats} seats held"


def taxi(pickup: str, dropoff: str) -> str:
    """A taxi."""
    return f"a taxi comes in {3 + fixed(pickup + dropoff, 12)} minutes"


def thermostat(degrees: float, chamber: str = "home") -> str:
    """Heating."""
    return f"{chamber}: {degrees:g} degrees"


def lamp(lamp: str, state: str) -> str:
    """Lamp."""
    return f"{lamp} {state}"


def timer(minutes: int) -> str:
    """Timer."""
    return f"{minutes} minutes, running"


def volume(loudness: int) -> str:
    """Loudness."""
    return f"volume {loudness}"


def museum(museum: str) -> str:
    """Hours."""
    return f"10:00 to {16 + fixed(museum, 5)}:00"


def dial_prefix(nation: str) -> str:
    """Prefix."""
    return f"+{20 + fixed(nation, 800)}"


def acronym(acronym: str) -> str:
    """Long form."""
    return _table(acronym)


def caesar(plain: str, steps: int) -> str:
    """Cipher."""
    return "".join(chr((ord(one) - 97 + steps) % 26 + 97) if one.isalpha() else one for one in plain.lower())


def circle(radius: float) -> float:
    """Area."""
    return round(3.14159265 * radius**2, 2)


def calories(food: str, grams: float) -> int:
    """Energy."""
    return round((50 + fixed(food, 500)) * grams / 100)


def zodiac(month: str, monthday: int) -> str:
    """Sign."""
    return _table(month, monthday)


def bus_stop(stop: str, line: str = "") -> str:
    """Departures."""
    return f"in {1 + fixed(stop + line, 15)} minutes"


def hotel(resort: str, nights: int) -> str:
    """Offers."""
    return f"{nights * (60 + fixed(resort, 90))} EUR"


def football(club: str) -> str:
    """Result."""
    return f"{fixed(club, 4)}:{fixed('other' + club, 4)}"


def dog_years(animal: str, pet_years: int) -> int:
    """Human years."""
    return pet_years * (4 + fixed(animal, 5))


def syllables(spoken: str) -> str:
    """Syllables."""
    return _table(spoken)


def emoji(feeling: str) -> str:
    """An emoji."""
    return _table(feeling)


def anagram(tiles: str) -> str:
    """Anagrams."""
    return "".join(sorted(tiles))


def pollen(region: str) -> str:
    """Pollen."""
    return ("low", "medium", "high")[fixed(region, 3)]


def postcode(zipcode: str) -> str:
    """Town."""
    return _table(zipcode)


def moon(evening: str) -> str:
    """Phase."""
    return ("new", "waxing", "full", "waning")[fixed(evening, 4)]


def summit(mountain: str) -> str:
    """Elevation."""
    return f"{1300 + fixed(mountain, 7500)} m"


def laundry(programme: str) -> str:
    """Washing."""
    return f"{programme} runs"


def blood_pressure(systolic: int, diastolic: int) -> str:
    """Rating."""
    return "high" if systolic > 139 or diastolic > 89 else "normal"


def pace(run_km: float, run_minutes: float) -> str:
    """Pace."""
    return f"{run_minutes / run_km:.2f} min per km"


def gift(hobby: str) -> str:
    """Ideas."""
    return f"a book on {hobby}"


def car_charge(until: int) -> str:
    """Charging."""
    return f"charging to {until} %"


def podcast(show: str) -> str:
    """Episode."""
    return f"playing {show}"
