"""Further training tools: computers, phones, the smart home, meetings, writing, photos, fitness."""

from __future__ import annotations

from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.lookups import place
from agenttune.desk.tables import fixed, lists
from agenttune.desk.tools_numbers import read_date


def _within(value: float, low: float, high: float, what: str) -> float:
    if not low <= value <= high:
        raise ToolError(f"the {what} must be from {low} to {high}")
    return value


def file_rename(old_file: str, new_file: str) -> str:
    """Renames a file and keeps its ending."""
    return f"The folder shows {new_file.strip()}.{old_file.rpartition('.')[2]} now."


def unpack_archive(archive: str, into: str = "Desktop") -> str:
    """Unpacks an archive."""
    return f"{2 + fixed(archive, 60)} files are in {lists()['devices_folder'][place('devices_folder', into, 'folder')]}."


def folder_share(folder: str, person: str, right: str = "view") -> str:
    """Shares a folder."""
    place("devices_folder", folder, "folder")
    return f"{person} may {lists()['devices_right'][place('devices_right', right, 'right')]} {3 + fixed(folder, 80)} files."


def file_restore(lost_file: str, days_back: int = 0) -> str:
    """Brings a file back."""
    _within(days_back, 0, 30, "number of days")
    return (
        f"It has {12 + fixed(lost_file, 900)} KB, as of {days_back} days ago." if days_back else f"It has {12 + fixed(lost_file, 900)} KB."
    )


def space_taken(measured: str) -> str:
    """Size of a folder."""
    place("devices_folder", measured, "folder")
    return f"{0.4 + fixed(measured, 400) / 10:.1f} GB"


def file_convert(source_file: str, file_format: str) -> str:
    """Converts a document."""
    return f"It has {1 + fixed(source_file, 90)} pages as {lists()['devices_format'][place('devices_format', file_format, 'format')]}."


def app_install(app: str, device: str = "phone") -> str:
    """Installs an app."""
    place("devices_machine", device, "device")
    return f"It takes {20 + fixed(app, 300)} MB on the {device}."


def app_access(nosy_app: str, permission: str) -> str:
    """Withdraws a permission."""
    place("devices_permission", permission, "permission")
    return f"It had used it {2 + fixed(nosy_app + permission, 60)} times."


def wifi_join(network: str, key: str) -> str:
    """Joins a network."""
    if len(key.strip()) < 6:
        raise ToolError("the key is too short")
    return f"The signal has {1 + fixed(network, 4)} of 4 bars."


def pair_gadget(gadget: str, partner: str = "phone") -> str:
    """Pairs a gadget."""
    place("devices_gadget", gadget, "gadget")
    return f"The {partner} sees it; its battery is at {20 + fixed(gadget, 80)} %."


def malware_scan(suspect: str, thoroughness: str = "quick") -> str:
    """Scans for viruses."""
    files = (900 if thoroughness in ("quick", "short") else 40000) + fixed(suspect, 900)
    return f"{files} files read, {('nothing found', 'one trojan locked away', 'two adverts removed')[fixed(suspect, 3)]}."


def crash_code(stop_code: str) -> str:
    """Meaning of a stop code."""
    return lists()["devices_stop_meaning"][place("devices_stop_code", stop_code, "stop code")]


def desktop_picture(motif: str, monitor: str = "main") -> str:
    """Sets the background."""
    place("devices_motif", motif, "picture")
    return f"The {monitor} monitor has changed."


def keyboard_layout(layout: str) -> str:
    """Switches the layout."""
    return f"Layout {1 + place('devices_layout', layout, 'layout')} of {len(lists()['devices_layout'])} is on."


def charging_cable(chargeable: str) -> str:
    """The plug of a device."""
    return lists()["devices_plug"][place("devices_chargeable", chargeable, "device")]


def battery_runtime(capacity: int, draw: int) -> dict[str, Any]:
    """Hours a battery lasts."""
    return {"result": round(_within(capacity, 1, 100000, "capacity") / _within(draw, 1, 10000, "draw"), 1)}


def ring_tone(caller: str, tone: str) -> str:
    """Sets a ringtone."""
    return f"Tone {1 + place('devices_tone', tone, 'tone')} is set for {caller}."


def call_forward(forward_to: str, condition: str = "always") -> str:
    """Forwards calls."""
    if sum(letter.isdigit() for letter in forward_to) < 6:
        raise ToolError(f'"{forward_to}" is too short for a number')
    return f"Forwarding is on: {condition}."


def caller_block(unwanted: str, reason: str = "no reason given") -> str:
    """Blocks a number."""
    return f"Blocked after {2 + fixed(unwanted, 20)} calls ({reason})."


def roaming_price(abroad: str, megabytes: int) -> str:
    """Price of mobile data in a country."""
    cents = (1, 2, 5, 20, 60)[fixed(abroad, 5)]
    return f"{_within(megabytes, 1, 100000, 'amount of data') * cents / 100:.2f} euros"


def text_message(receiver: str, words: str) -> str:
    """Sends a text message."""
    return f"Sent to {receiver}, {len(words)} of 160 characters."


def hush_mode(until: str, spared: str = "nobody") -> str:
    """Keeps the phone silent."""
    return f"{1 + fixed(until, 9)} apps are mute, {spared} gets through."


def lawn_robot(lawn: str, cut: int = 4) -> str:
    """Mows a lawn."""
    _within(cut, 2, 8, "height")
    return f"{20 + 5 * (place('devices_lawn', lawn, 'lawn') + 8 - cut)} minutes to go."


def sprinkler(bed: str, duration: int) -> str:
    """Waters a part of the garden."""
    place("devices_bed", bed, "bed")
    return f"{round(_within(duration, 1, 120, 'time') * (4 + fixed(bed, 8)))} litres"


def wine_cooler(shelf: str, cold: int) -> str:
    """Sets the wine cooler."""
    place("devices_shelf", shelf, "shelf")
    return f"It will take {round(18 - _within(cold, 2, 18, 'temperature')) * 6} minutes."


def alarm_arm(guard_mode: str, floor: str = "whole house") -> str:
    """Arms the alarm."""
    return f"{3 + place('devices_guard_mode', guard_mode, 'mode')} detectors guard the {floor}."


def tv_source(source: str, screen: str = "living room") -> str:
    """Changes the input of a television."""
    return f"The {screen} TV has changed to input {1 + place('devices_source', source, 'source')}."


def scene_start(scene: str, where: str = "living room") -> str:
    """Starts a scene."""
    place("devices_scene", scene, "scene")
    return f"{3 + fixed(scene + where, 9)} devices in the {where} have changed."


def camera_replay(camera: str, seen_at: str) -> str:
    """What a camera saw."""
    place("devices_camera", camera, "camera")
    return ("nobody", "a cat", "a man with a hat", "a delivery van", "two children", "a fox", "the postwoman")[fixed(camera + seen_at, 7)]


def fan_speed(fan: str, speed: int) -> str:
    """Sets the speed of a fan."""
    place("devices_fan", fan, "fan")
    return f"{round(_within(speed, 1, 9, 'level') * 90)} turns a minute"


def team_poll(question: str, closes: str = "Friday") -> str:
    """Asks the team."""
    return f"{4 + fixed(question, 20)} people are asked, until {closes}."


def meeting_cost(attendees: int, lasted: int, wage: float) -> dict[str, Any]:
    """Working time of a meeting in money."""
    hours = _within(lasted, 1, 600, "length") / 60
    return {"result": round(_within(attendees, 1, 1000, "number of attendees") * hours * wage, 2)}


def video_call(callee: str, about: str = "nothing special") -> str:
    """Rings somebody on video."""
    return f"The camera is on, the line reads: {about}."


def helpdesk_ticket(trouble: str, urgency: str = "minor") -> str:
    """Opens a ticket."""
    queue = 1 if place("devices_urgency", urgency, "urgency") in (0, 1, 2, 5) else 4 + fixed(trouble, 20)
    return f"Number {1000 + fixed(trouble, 9000)}, place {queue} in the queue."


def desk_reserve(seat: str, day: str) -> str:
    """Reserves a desk."""
    place("devices_desk", seat, "desk")
    return f"{day[:1].upper()}{day[1:]}, from {7 + fixed(seat + day, 3)} o'clock."


def auto_reply(back_on: str, deputy: str) -> str:
    """Sets an out-of-office reply."""
    return f"It says: back on {read_date(back_on).isoformat()}, until then ask {deputy}."


def speech_words(stage_minutes: float, pace: str = "normal") -> dict[str, Any]:
    """Words of a speech: 90 to 160 a minute."""
    a_minute = (90, 125, 155, 100, 145, 150)[place("devices_pace", pace, "pace")]
    return {"result": round(_within(stage_minutes, 0.5, 240, "time") * a_minute)}


def salutation(dignitary: str, tone: str = "formal") -> str:
    """How to address somebody."""
    form = lists()["devices_form"][place("devices_dignitary", dignitary, "addressee")]
    return f"{form}{'!' if tone in ('warm', 'friendly') else ','}"


def font_pick(printed: str, mood: str = "modern") -> str:
    """A font for an occasion."""
    place("devices_printed", printed, "printed piece")
    return lists()["devices_typeface"][place("devices_mood", mood, "mood")]


def photo_crop(photo: str, ratio: str) -> str:
    """Crops a photo."""
    place("devices_photo", photo, "photo")
    wide, high = (int(part) for part in lists()["devices_ratio"][place("devices_ratio", ratio, "ratio")].split(":"))
    return f"It has {3000 if wide >= high else 3000 * wide // high} by {3000 if wide < high else 3000 * high // wide} pixels."


def lens_equivalent(focal: int, sensor: str) -> dict[str, Any]:
    """Focal length in full-frame terms."""
    factor = float(lists()["devices_factor"][place("devices_sensor", sensor, "sensor")])
    return {"result": round(_within(focal, 1, 2000, "focal length") * factor)}


def heart_zone(born: str, zone: str = "endurance") -> str:
    """Pulse for training, from 220 less the age."""
    low = (55, 65, 60, 75, 82, 85, 50, 70, 88, 62)[place("devices_zone", zone, "zone")]
    most = 220 - (2025 - read_date(born).year)
    return f"{round(most * low / 100)} to {round(most * (low + 9) / 100)}"


def one_rep_max(barbell: float, repetitions: int) -> dict[str, Any]:
    """Epley's estimate of the heaviest lift."""
    return {"result": round(_within(barbell, 1, 500, "weight") * (1 + _within(repetitions, 1, 30, "repetitions") / 30), 1)}


def _minute(clock: str) -> int:
    hour, _, minute = clock.strip().partition(":")
    if not (hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
        raise ToolError(f'"{clock}" is not a time; write it as 22:15')
    return int(hour) * 60 + int(minute)


def sleep_log(lights_out: str, woke_up: str) -> str:
    """Notes a night's sleep."""
    slept = (_minute(woke_up) - _minute(lights_out)) % (24 * 60)
    return f"{slept // 60} hours and {slept % 60} minutes of sleep"


def shoe_mileage(shoes: str, ran: float) -> str:
    """Adds kilometres to a pair of shoes."""
    total = 90 + 40 * place("devices_shoes", shoes, "pair") + _within(ran, 0.1, 300, "distance")
    return f"They have done {total:.1f} km of 800."


def ink_order(ink: str, packs: int, printer: str = "office printer") -> str:
    """Orders ink."""
    place("devices_ink", ink, "colour")
    place("devices_printer", printer, "printer")
    return (
        f"It comes in {1 + fixed(printer, 4)} days and costs {_within(packs, 1, 50, 'number of cartridges') * (12 + fixed(ink, 9))} euros."
    )
