"""Tools for training: what lies on a desk. They answer as if they kept things; every request starts from the same desk."""

from __future__ import annotations

from typing import Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.tables import fixed, lists


def _numbered(text: str) -> dict[str, Any]:
    return {"ok": True, "id": 100 + fixed(text, 900)}


def dice(count: int, sides: int = 6) -> str:
    """Dice whose throw depends only on their number and sides."""
    if not 1 <= count <= 20:
        raise ToolError("1 to 20 dice can be rolled")
    return ", ".join(str(1 + fixed(f"{count} {sides} {number}", sides)) for number in range(count))


def random_number(low: int, high: int) -> dict[str, Any]:
    """A number that depends only on the limits."""
    if low > high:
        raise ToolError("the lowest number is above the highest")
    return {"result": low + fixed(f"{low} {high}", high - low + 1)}


def calendar_add(title: str, date: str, time: str = "") -> dict[str, Any]:
    """Enter an event."""
    return _numbered(title + date + time)


def calendar_list(date: str) -> str:
    """Events of a day out of a fixed table."""
    events = lists()["event"]
    count = fixed(date, 3)
    return "; ".join(f"{9 + 3 * number}:00 {events[fixed(f'{date}{number}', len(events))]}" for number in range(count)) or "nothing"


def contact_find(name: str) -> str:
    """Phone number out of a fixed table."""
    if not name.strip():
        raise ToolError("a name is needed")
    return f"+49 {30 + fixed(name, 60)} {1000000 + fixed(name, 8999999)}"


def contact_add(name: str, phone: str) -> dict[str, Any]:
    """Save a contact."""
    return _numbered(name + phone)


def reminder_add(task: str, time: str) -> dict[str, Any]:
    """Set a reminder."""
    return _numbered(task + time)


def note_save(text: str) -> dict[str, Any]:
    """Save a note."""
    return _numbered(text)


def shopping_add(item: str, quantity: int = 1) -> dict[str, Any]:
    """Put an item on the list."""
    return {"ok": True, "on_list": 2 + fixed(f"{item}{quantity}", 9)}


def email_draft(to: str, subject: str, body: str = "") -> dict[str, Any]:
    """Save a draft."""
    return _numbered(to + subject + body)


def todo_done(task: str) -> dict[str, Any]:
    """Tick a task off."""
    return {"ok": True, "open": fixed(task, 12)}


def expense_add(amount: float, category: str) -> dict[str, Any]:
    """Record an expense."""
    return {"ok": True, "month_total": round(amount + fixed(category, 30000) / 100, 2)}


def order_status(order: str) -> str:
    """State of an order out of a fixed table."""
    states = ("packed", "on its way", "delivered", "waiting for payment")
    return f"{states[fixed(order, 4)]}, expected in {2 + fixed(order, 5)} days"


def room_book(room: str, date: str) -> dict[str, Any]:
    """Book a room."""
    return _numbered(room + date)
