"""Further training tools: computers, phones, the smart home, meetings, writing, photos, fitness."""

from __future__ import annotations

from agenttune.agent.toolbox.answers import ToolError

from .tables import fixed, lists


def _at(pool: str, value: str, what: str) -> int:
    """The place of a value in a list, whatever its letter case. Raises `ToolError` where the list has no such value."""
    names = [one.lower() for one in lists()[pool]]
    if value.strip().lower() not in names:
        raise ToolError(f'no {what} "{value}" here')
    return names.index(value.strip().lower())


def _within(value: float, low: float, high: float, what: str) -> float:
    if not low <= value <= high:
        raise ToolError(f"the {what} must be from {low} to {high}")
    return value


def file_rename(old_file: str, new_file: str) -> str:
    """Renames a file and keeps its ending."""
    return f"{old_file} is {new_file.strip()}.{old_file.rpartition('.')[2]} now."


def unpack_archive(archive: str, into: str = "Desktop") -> str:
    """Unpacks an archive."""
    return f"{2 + fixed(archive, 60)} files are in {lists()['devices_folder'][_at('devices_folder', into, 'folder')]}."


def folder_share(folder: str, person: str, right: str = "view") -> str:
    """Shares a folder."""
    _at("devices_folder", folder, "folder")
    return f"{person} may {lists()['devices_right'][_at('devices_right', right, 'right')]} {3 + fixed(folder, 80)} files."


def file_restore(lost_file: str, days_back: int = 0) -> str:
    """Brings a file back."""
    _within(days_back, 0, 30, "number of days")
    return f"It has {12 + fixed(lost_file, 900)} KB, as of {days_back} days ago." if days_back else f"It has {12 + fixed(lost_file, 900)} KB."


def space_taken(measured: str) -> str:
    """Size of a folder."""
    _at("devices_folder", measured, "folder")
    return f"{0.4 + fixed(measured, 400) / 10:.1f} GB"


def file_convert(source_file: str, file_format: str) -> str:
    """Converts a document."""
    return f"It has {1 + fixed(source_file, 90)} pages as {lists()['devices_format'][_at('devices_format', file_format, 'format')]}."


def app_install(app: str, device: str = "phone") -> str:
    """Installs an app."""
    _at("devices_machine", device, "device")
    return f"It takes {20 + fixed(app, 300)} MB on the {device}."


def app_access(nosy_app: str, permission: str) -> str:
    """Withdraws a permission."""
    _at("devices_permission", permission, "permission")
    return f"It had used it {1 + fixed(nosy_app + permission, 60)} times."


def wifi_join(network: str, key: str) -> str:
    """Joins a network."""
    if len(key.strip()) < 6:
        raise ToolError("the key is too short")
    return f"The signal has {1 + fixed(network, 4)} of 4 bars."


def pair_gadget(gadget: str, partner: str = "phone") -> str:
    """Pairs a gadget."""
    _at("devices_gadget", gadget, "gadget")
    return f"The {partner} sees it; its battery is at {20 + fixed(gadget, 80)} %."


def malware_scan(suspect: str, thoroughness: str = "quick") -> str:
    """Scans for viruses."""
    files = (900 if thoroughness in ("quick", "short") else 40000) + fixed(suspect, 900)
    return f"{files} files read, {('nothing found', 'one trojan locked away', 'two adverts removed')[fixed(suspect, 3)]}."


def crash_code(stop_code: str) -> str:
    """Meaning of a stop code."""
    return lists()["devices_stop_meaning"][_at("devices_stop_code", stop_code, "stop code")]


def desktop_picture(motif: str, monitor: str = "main") -> str:
    """Sets the background."""
    _at("devices_motif", motif, "picture")
    return f"The {monitor} monitor has changed."


def keyboard_layout(layout: str) -> str:
    """Switches the layout."""
    return f"Layout {1 + _at('devices_layout', layout, 'layout')} of {len(lists()['devices_layout'])} is on."


def charging_cable(chargeable: str) -> str:
    """The plug of a device."""
    return lists()["devices_plug"][_at("devices_chargeable", chargeable, "device")]
