"""Further training tools: shops, household money, post, public offices, cars and bicycles, trains, hotels, restaurants, journeys."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.lookups import above_zero, beside, place
from agenttune.desk.tables import fixed, lists
from agenttune.desk.tools_numbers import read_date


def _place(pool: str, value: str) -> int:
    return place(f"errands_{pool}", value, "entry for")


def _matching(pool: str, value: str, other: str) -> str:
    return beside(f"errands_{pool}", value, f"errands_{other}")


def _number(text: str, key: str, low: int = 1000, span: int = 9000) -> int:
    """A reference number that is always the same for the same request."""
    return low + fixed(text + key, span)


def shoe_size(size: str, system: str) -> str:
    """A European shoe size in another system."""
    european = 36 + _place("shoes", size)
    if system.lower() in ("japanese", "korean", "chinese", "mexican"):
        centimetres = european / 1.5 - 1.5
        return f"{centimetres * 10:.0f} mm" if system.lower() in ("korean", "chinese") else f"{centimetres:.1f} cm"
    less = {"british": 33, "american": 32, "australian": 32, "brazilian": 2}
    return str(european - less[lists()["errands_sizes"][_place("sizes", system)].lower()])


def unit_price(price: float, grams: int) -> dict[str, Any]:
    """Price of a thousand grams."""
    return {"result": round(above_zero(price, "price") * 1000 / above_zero(grams, "weight"), 2)}


def store_aisle(article: str) -> str:
    """The aisle of an article."""
    aisles = lists()["errands_aisle"]
    return aisles[_place("article", article) % len(aisles)]


def shop_hold(piece: str, shop: str, until: str = "Saturday") -> str:
    """Has a shop keep a piece."""
    _place("shop", shop)
    return f"Ask for number {_number(piece, shop, 10, 90)}, not later than {until}."


def tailor_alter(garment: str, change: str) -> str:
    """Orders an alteration."""
    days = 3 + 2 * (_place("alter", change) % 4)
    return f"The {garment} will be ready in {days} days for {18 + 4 * days}.00 euros."


def price_watch(wish: str, limit: float) -> str:
    """Watches a price."""
    return f"Today it is {above_zero(limit, 'limit') * (1.1 + fixed(wish, 40) / 100):.2f}."


def flea_stall(wares: str, metres: int) -> str:
    """Registers a stall."""
    return f"Place {1 + fixed(wares, 120)}, fee {8 * round(above_zero(metres, 'length'))} euros."


def flower_order(flowers: str, receiver: str) -> str:
    """Orders a bouquet."""
    return f"{(9, 12, 15, 20)[fixed(flowers, 4)]} {flowers} will be at the door at {13 + fixed(receiver, 5)}:30."


def standing_order(payee: str, sum: float, monthday: int = 1) -> str:
    """Sets up a monthly payment."""
    if not 1 <= monthday <= 28:
        raise ToolError("the day of the month must be from 1 to 28")
    return f"Order {_number(payee, 'order')}, {12 * above_zero(sum, 'sum'):.2f} a year, paid on day {monthday}."


def saving_goal(goal: float, weekly: float) -> dict[str, Any]:
    """Whole weeks until a sum is reached."""
    return {"result": math.ceil(above_zero(goal, "goal") / above_zero(weekly, "weekly sum"))}


def debt_note(debtor: str, lent: float) -> str:
    """Notes a debt."""
    return f"Entry {_number(debtor, str(above_zero(lent, 'sum')), 1, 99)} in the book of debts."


def spending_cap(card: str, euros: int) -> str:
    """Caps a card."""
    return f"The {card} has {above_zero(euros, 'limit') / 7:.2f} a day on average."


def meter_reading(meter: str, reading: int) -> str:
    """Hands in a reading."""
    return f"The receipt for the {meter} is number {_number(meter, str(round(above_zero(reading, 'reading'))))}."


def change_due(due: float, handed: str) -> str:
    """Change in notes and coins."""
    left = round(float(_matching("cash", handed, "cash_worth")) * 100 - above_zero(due, "sum") * 100)
    if left < 0:
        raise ToolError("that is not enough money")
    parts = []
    for worth in (5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1):
        count, left = divmod(left, worth)
        parts += [f"{count} x {worth / 100:g}"] if count else []
    return ", ".join(parts) or "nothing"


def bottle_deposit(container: str, pieces: int) -> str:
    """Deposit on empties."""
    return f"{int(_matching('bottle', container, 'bottle_cents')) * above_zero(pieces, 'number') / 100:.2f} euros"


def mail_hold(begin: str, days: int) -> str:
    """Keeps mail for some days."""
    return f"Collect it on {read_date(begin) + dt.timedelta(days=round(above_zero(days, 'number of days')))}."


def mail_redirect(address: str, since: str) -> str:
    """Redirects mail for a year."""
    return f"It holds until {read_date(since) + dt.timedelta(days=365)}, order {_number(address, 'mail')}."


def courier_note(spot: str, parcel: str = "any sender") -> str:
    """Tells a courier where to leave a parcel."""
    return f"The parcel ({parcel}) arrives between {9 + fixed(spot, 4)} and {14 + fixed(parcel, 4)}."


def office_slot(office: str, visit: str) -> str:
    """Makes an appointment."""
    read_date(visit)
    return f"{8 + fixed(office + visit, 8)}:{15 * fixed(visit, 4):02d}, room {_number(office, 'room', 101, 300)}"


def dog_licence(dog: str, breed: str) -> str:
    """Registers a dog."""
    return f"The tag has number {_number(dog, breed)}, the tax is {60 + 12 * (_place('breed', breed) % 5)} a year."


def plate_reserve(letters: str) -> str:
    """Reserves a number plate."""
    return ("it is yours for 90 days", "it is yours for 30 days", "taken, but the next number is yours")[fixed(letters, 3)]


def certificate_order(certificate: str, holder: str) -> str:
    """Orders a copy of a certificate."""
    return f"It costs {10 + 2 * (_place('certificate', certificate) % 4)}.00 and comes within {3 + fixed(holder, 8)} days."


def noise_report(noise: str, street: str) -> str:
    """Complains about noise."""
    return f"File {_number(noise, street)}; a patrol will be in {street} in {10 + fixed(street, 40)} minutes."


def office_queue(slip: int, hall: str = "main hall") -> str:
    """How many are before a number."""
    _place("hall", hall)
    before = 1 + fixed(f"{above_zero(slip, 'number')} {hall}", 24)
    return f"{before} people are waiting, about {4 * before} minutes."


def tyre_pressure(wheels: str, load: str = "half loaded") -> dict[str, Any]:
    """Tyre pressure in bar; a heavy load takes a little more."""
    _place("load", load)
    more = 0.3 if any(word in load.lower() for word in ("full", "heav")) else 0.0
    return {"result": round(float(_matching("wheels", wheels, "bars")) + more, 1)}


def fuel_cheap(fuel: str, radius: int = 5) -> str:
    """The cheapest pump."""
    pumps = lists()["errands_pump"]
    cents = 139 + 3 * _place("fuel", fuel)
    return f"{pumps[(_place('fuel', fuel) + round(above_zero(radius, 'radius'))) % len(pumps)]}, {cents / 100:.2f} euros"


def braking(speed: int, road: str = "dry") -> dict[str, Any]:
    """Metres to stop: the way of one second, and the braking path by the grip of the road."""
    _place("surface", road)
    grip = {"dry": 7.5, "dusty": 6.0, "frozen": 1.5, "snowy": 2.5}.get(road.lower(), 5.0)
    metres = above_zero(speed, "speed") / 3.6
    return {"result": round(metres + metres**2 / (2 * grip))}


def garage_visit(trouble: str, drop_off: str) -> str:
    """Books a garage."""
    read_date(drop_off)
    return f"Bring it at {7 + fixed(drop_off, 3)}:30, {trouble} takes {2 + _place('carwork', trouble) % 4} hours."


def bike_frame(rider: int, cycle: str) -> str:
    """Frame size from the height of the rider."""
    inseam = 0.46 * above_zero(rider, "height")
    kind = lists()["errands_cycle"][_place("cycle", cycle)]
    if kind == "mountain bike":
        return f"{inseam * 0.23:.0f} inches"
    return f"{inseam * (0.665 if kind in ('racing bike', 'fixie') else 0.64):.0f} cm"


def resale_value(model: str, age_years: int) -> dict[str, Any]:
    """Worth of a used car: a seventh less each year."""
    new = 16000 + 1500 * (_place("model", model) % 9)
    return {"result": int(round(new * (6 / 7) ** above_zero(age_years, "age"), -2))}


def seat_heating(seat: str, level: str = "2") -> str:
    """Heats a seat."""
    _place("seat", seat)
    return f"Setting {lists()['errands_level'][_place('level', level)]}, warm in {1 + fixed(seat, 4)} minutes."


def kitchen_note(ordered: str, omitted: str) -> str:
    """Orders a dish without something."""
    _place("omit", omitted)
    return f"The {ordered} comes in {12 + _place('dish', ordered)} minutes."


def breakdown_call(defect: str, stuck_at: str) -> str:
    """Sends roadside help."""
    van = "A tow truck" if _place("breakdown", defect) % 3 == 2 else "A mechanic"
    return f"{van} will be there in {15 + fixed(stuck_at, 50)} minutes."


def train_seat(train: str, place: str) -> str:
    """Reserves a seat."""
    _place("place", place)
    return f"coach {1 + fixed(train, 12)}, seat {11 + fixed(train + place, 80)}, {place}"


def platform(service: str) -> str:
    """The platform of a train."""
    return f"platform {1 + _place('train', service)}{'ab'[fixed(service, 2)]}"


def late_train_claim(fare: float, late_minutes: int) -> str:
    """A quarter of the fare from an hour on, half of it from two hours on."""
    part = 0.5 if late_minutes >= 120 else 0.25 if late_minutes >= 60 else 0.0
    return f"{above_zero(fare, 'fare') * part:.2f}"


def station_locker(station: str, bag: str = "travel bag") -> str:
    """Free lockers."""
    wide = "cello" in bag or "large" in bag or "skis" in bag or "pram" in bag or "snowboard" in bag
    return f"{_place('station', station) + 2} free in size {'XL' if wide else 'M'}, {6 if wide else 3} euros a day"


def wake_call(room_number: int, wake_time: str) -> str:
    """Orders a wake-up call."""
    return f"The telephone in {round(above_zero(room_number, 'room number'))} will ring at {wake_time} and five minutes later."


def room_service(request: str, floor_room: int) -> str:
    """Has something brought to a room."""
    return f"Wait {3 + fixed(request, 12)} minutes, floor {round(above_zero(floor_room, 'room number')) // 100}."


def campsite(shelter: str, nights: int, site: str = "Pine Bay") -> str:
    """Books a pitch."""
    fee = 18 + 2 * (_place("shelter", shelter) % 6)
    return f"{site}, pitch {1 + fixed(shelter + site, 150)}, {fee * round(above_zero(nights, 'number of nights'))} euros."


def menu_word(term: str) -> str:
    """What a dish is."""
    return _matching("menu", term, "menu_meaning")


def catering(buffet: str, guests: int, feast: str) -> str:
    """Orders a buffet."""
    a_head = 9 + _place("buffet", buffet) % 8
    return f"It arrives on {read_date(feast)} and costs {a_head * round(above_zero(guests, 'number of guests'))} euros."


def packing_list(holiday: str, length: int) -> str:
    """What to pack."""
    days = round(above_zero(length, "number of days"))
    return f"{days} shirts, {days + 1} pairs of socks, {1 + days // 3} trousers, {_matching('trip', holiday, 'special')}"


def roof_load(vehicle: str, kilos: int) -> str:
    """Whether a roof bears a load."""
    allowed = 50 + 5 * (_place("model", vehicle) % 6)
    return f"{'allowed' if above_zero(kilos, 'load') <= allowed else 'too heavy'}, the limit is {allowed} kg"


def jet_lag(left: str, reached: str) -> dict[str, Any]:
    """Days for the body clock: one for each hour and a half between two places."""
    hours = abs(int(_matching("airport", reached, "airport_hours")) - int(_matching("airport", left, "airport_hours")))
    return {"result": math.ceil(min(hours, 24 - hours) / 1.5)}
