"""Further training tools: town, travel, sport, culture."""

from __future__ import annotations

from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.tables import fixed, lists, table

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_VISA = ("no visa needed for 90 days", "no visa needed for 30 days", "a visa is needed", "a visa is given on arrival")
_PAPERS = ("an identity card", "a birth certificate", "two photos", "proof of address", "the filled-in form")
_BANDS = ("The Copper Owls", "Nine Lives", "Velvet Tram", "Ida and the Storm", "Paper Tigers", "Low Tide", "Mango Republic")
_GAMES = ("Islands of Wool", "Ticket Rush", "The Crooked Castle", "Codeword", "Lost Pharaoh", "Dragon Tiles")
# Rounded: the usual type of a country; all others have the last line.
_SOCKETS = {
    "type G, 230 volts": "ireland malaysia kenya ghana nigeria zambia saudi_arabia sri_lanka",
    "type A and B, 120 volts": "canada mexico japan colombia jamaica cuba",
    "type I, 230 volts": "australia new_zealand argentina china",
    "type C and D, 230 volts": "india nepal bangladesh pakistan",
    "type A and C, 220 volts": "peru thailand vietnam",
    "type C and L, 230 volts": "italy chile",
    "type M and N, 230 volts": "south_africa",
    "type C and N, 220 volts": "brazil",
    "type J, 230 volts": "switzerland",
    "type C and F, 230 volts": "",
}
_POLICE = {
    "911": "argentina canada mexico saudi_arabia",
    "999": "malaysia kenya zambia bangladesh",
    "110": "china japan indonesia",
    "119": "jamaica sri_lanka",
    "000": "australia",
    "111": "new_zealand",
    "190": "brazil morocco",
    "123": "colombia",
    "133": "chile",
    "105": "peru",
    "106": "cuba",
    "122": "egypt",
    "100": "nepal",
    "15": "pakistan",
    "17": "senegal",
    "191": "thailand",
    "113": "vietnam",
    "112": "",
}
_JABS = {
    "yellow fever, hepatitis A and typhoid": "ghana senegal nigeria zambia kenya brazil peru colombia",
    "hepatitis A and typhoid": "india nepal bangladesh pakistan indonesia thailand vietnam sri_lanka egypt morocco malaysia",
    "hepatitis A": "mexico jamaica cuba argentina chile china south_africa saudi_arabia turkey",
    "none beyond tetanus": "",
}
_PLACES = ("the market square", "the river bank", "the old station", "the town hall steps", "the university gate")
_HALLS = ("Lime Tree School", "the fire station", "St Mary's Hall", "the sports centre", "Northgate Library")
_FOUND = ("not found yet", "found, shelf 12", "found, shelf 31", "found, please bring an identity card")


def _pick(values: tuple[str, ...], text: str) -> str:
    return values[fixed(text, len(values))]


def _listed(name: str, value: str, what: str) -> str:
    """The value as the list `name` writes it."""
    for known in lists()[name]:
        if known.lower().removeprefix("the ") == value.strip().lower().removeprefix("the "):
            return known
    raise ToolError(f'no {what} "{value}" is known here')


def _by_country(groups: dict[str, str], country: str) -> str:
    """The group a country of the table belongs to; the last one has all the others."""
    name = country.strip().lower()
    if name not in table("countries"):
        raise ToolError(f'no country "{country}" in the table')
    *first, last = groups
    return next((group for group in first if name.replace(" ", "_") in groups[group].split()), last)


def _positive(number: float, what: str) -> None:
    if number <= 0:
        raise ToolError(f"the {what} must be above 0")


def library_renew(book: str) -> str:
    """Three or four more weeks."""
    return f"{21 + 7 * fixed(book, 2)} days"


def library_shelf(subject: str, branch: str = "") -> str:
    """A shelf that depends on subject and branch."""
    return f"floor {fixed(subject, 3)}, shelf {1 + fixed(subject + branch, 60)}"


def visa_rule(citizen: str, target: str) -> str:
    """A rule out of a fixed table."""
    return _pick(_VISA, citizen + target)


def customs_limit(goods: str) -> str:
    """The allowance of a kind of goods."""
    return f"{50 * (2 + fixed(_listed('town_goods', goods, 'kind of goods'), 9))} euros' worth"


def lost_property(item: str, place: str) -> str:
    """What the office says about a lost thing."""
    return _pick(_FOUND, item + place)


def bin_day(waste: str, street: str) -> str:
    """A weekday for each street and kind of waste."""
    return _pick(_DAYS, _listed("town_waste", waste, "kind of waste") + street)


def pothole_report(damage: str, street: str) -> str:
    """The number of the report."""
    return f"R{1000 + fixed(damage + street, 9000)}"


def town_papers(service: str) -> str:
    """Two papers an errand needs."""
    first = fixed(service, len(_PAPERS))
    return f"{_PAPERS[first]} and {_PAPERS[(first + 2) % len(_PAPERS)]}"


def theatre_ticket(play: str, count: int) -> str:
    """Places in one row, and their price."""
    _positive(count, "number of tickets")
    return f"row {1 + fixed(play, 20)}, {count * (18 + fixed(play, 30))} euros"


def festival_lineup(festival: str, day: str = "") -> str:
    """Two bands of a festival."""
    first = fixed(festival + day, len(_BANDS))
    return f"{_BANDS[first]} and {_BANDS[(first + 3) % len(_BANDS)]}"


def karaoke_queue(singer: str, song: str) -> dict[str, Any]:
    """A place in the queue."""
    return {"result": 1 + fixed(singer + song, 14)}


def quiz_question(category: str, level: str = "medium") -> str:
    """The number of a question on a printed card."""
    return f"{_listed('town_quiz', category, 'category')}, card {1 + fixed(category + level, 80)}, {level}"


def board_game_pick(players: int, minutes: int) -> str:
    """A game for so many players and minutes."""
    if players < 2:
        raise ToolError("two players or more are needed")
    return "Speedy Snails" if minutes < 15 else _GAMES[(players + minutes) % len(_GAMES)]


def pool_lane(pool: str, time: str) -> dict[str, Any]:
    """The number of the lane."""
    return {"result": 1 + fixed(pool + time, 8)}


def bike_hire(bike: str, days: int) -> dict[str, Any]:
    """So much a day, a seventh day free."""
    _positive(days, "number of days")
    return {"result": (days - days // 7) * (9 + fixed(bike, 20))}


def ferry_fare(island: str, passengers: int) -> dict[str, Any]:
    """So much a passenger."""
    _positive(passengers, "number of passengers")
    return {"result": passengers * (7 + fixed(_listed("town_island", island, "ferry to"), 30))}


def luggage_fee(airline: str, kilos: float) -> dict[str, Any]:
    """Eight kilograms are free, the others cost."""
    _positive(kilos, "weight")
    return {"result": round(max(0.0, kilos - 8) * (4 + fixed(airline, 9)), 2)}


def socket_type(country: str) -> str:
    """Sockets and voltage out of a fixed table."""
    return _by_country(_SOCKETS, country)


def emergency_number(country: str) -> str:
    """The number of the police."""
    return _by_country(_POLICE, country)


def vaccination(country: str) -> str:
    """Vaccinations out of a fixed table."""
    return _by_country(_JABS, country)


def food_truck(truck: str, day: str = "today") -> str:
    """A place of the town."""
    return _pick(_PLACES, _listed("town_truck", truck, "food truck") + day)


def guided_tour(tour: str, people: int, date: str) -> dict[str, Any]:
    """The number of the booking."""
    if not 1 <= people <= 25:
        raise ToolError("a group has 1 to 25 people")
    return {"result": 1000 + fixed(f"{tour}{people}{date}", 9000)}


def polling_station(street: str) -> str:
    """The hall where a street votes."""
    return _pick(_HALLS, _listed("town_road", street, "street"))


def ski_lift(resort: str) -> str:
    """How many lifts run."""
    count = 12 + fixed(resort, 30)
    return f"{fixed('lifts' + resort, count + 1)} of {count} lifts"


def border_wait(crossing: str) -> dict[str, Any]:
    """Minutes out of a fixed table."""
    return {"result": 5 * fixed(_listed("town_crossing", crossing, "crossing"), 25)}


def toll_fee(road: str, vehicle: str) -> dict[str, Any]:
    """Euros by road and vehicle."""
    return {"result": (2 + fixed(road, 12)) * (1 + fixed(vehicle, 4))}


def traffic_fine(offence: str) -> dict[str, Any]:
    """Euros for an offence."""
    return {"result": 20 + 10 * fixed(_listed("town_offence", offence, "offence"), 40)}


def postage(mail: str, country: str) -> dict[str, Any]:
    """Euros by kind of mail and country."""
    return {"result": round(0.8 + fixed(mail, 12) * 0.9 + fixed(country, 5) * 0.4, 2)}


def embassy(country: str, city: str) -> str:
    """An address in the city."""
    return f"{1 + fixed(country + city, 140)} {_pick(lists()['town_road'], city + country)}, {city}"


def ticket_refund(ticket: str) -> dict[str, Any]:
    """Euros that go back; some tickets cannot be returned."""
    if ticket.upper().startswith("XX"):
        raise ToolError("this kind of ticket cannot be returned")
    return {"result": 15 + fixed(ticket, 60)}


def sports_trial(sport: str, name: str) -> str:
    """Weekday and hour of the first lesson."""
    return f"{_pick(_DAYS, sport)} at {16 + fixed(sport + name, 4)}:00"
