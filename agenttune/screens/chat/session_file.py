"""Sessions on disk: every conversation is a file of trajectories, which can be gone on with, shown, scored and trained on.

The first line is the conversation, further lines are other agents' answers to one of its questions (nothing of them is trained on).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agenttune.agent.conversation import Conversation
from agenttune.agent.events import AgentEvent, TrajectoryGrown
from agenttune.errors import Refusal, UserError, nearest
from agenttune.files import read_text, replacing
from agenttune.values.trajectory import Trajectory
from agenttune.values.trajectory_json import trajectory_from_json, trajectory_to_json

OWNER_FILE, OWNER_FOLDER = 0o600, 0o700


def state_folder() -> Path:
    """Under ``XDG_STATE_HOME`` (freedesktop.org base directories)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "agenttune"


def sessions_folder() -> Path:
    """Where sessions are kept."""
    return state_folder() / "sessions"


class SessionFile:
    """The file of a conversation, written whole after every change, also within a round; a folder of None keeps nothing. Its owner alone
    can read it."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: tuple[Trajectory, ...] = ()  # what the file holds

    def path(self, conversation: Conversation) -> Path | None:
        """Where this conversation is kept; None where it is not."""
        return None if self._folder is None else self._folder / f"{conversation.trajectory.id}.jsonl"

    def keep(self, conversation: Conversation) -> None:
        """Writes the conversation as it is now; one without a round is none yet. Raises `UserError` where the folder cannot be written."""
        path, now = self.path(conversation), (conversation.so_far, *conversation.comparisons)
        if path is None or not (now[0].rounds or path.exists()):
            return
        if len(now) == len(self._kept) and all(one is other for one, other in zip(now, self._kept, strict=True)):
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_FOLDER)
        except OSError as error:
            raise UserError(f"the session cannot be kept in {path.parent}: {error.strerror} (--no-trace goes without)") from error
        with replacing(path, permissions=OWNER_FILE) as file:
            for one in now:
                file.write(json.dumps(trajectory_to_json(one), ensure_ascii=False) + "\n")
        self._kept = now

    def watch(self, conversation: Conversation, event: AgentEvent) -> None:
        """Keeps what a round has done so far: a program that is killed loses only what it was about to do. Where it cannot be written is
        said by `keep` at the end of the round, which goes on."""
        if isinstance(event, TrajectoryGrown):
            with contextlib.suppress(UserError, OSError):
                self.keep(conversation)


NOT_KEPT = SessionFile(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A kept session in one line: its file, how many rounds it has, its first question, and what answered."""

    path: Path
    rounds: int
    question: str
    model: str


def summaries(folder: Path, most: int) -> Iterator[SessionSummary]:
    """The newest `most` sessions of a folder, newest first; files that are none are left out."""
    files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []
    for path in files[:most]:
        try:
            kept = read_session(path)[0]
        except UserError:
            continue
        question = kept.rounds[0].user if kept.rounds else ""
        yield SessionSummary(path=path, rounds=len(kept.rounds), question=question, model=kept.model)


def read_session(path: Path) -> list[Trajectory]:
    """The conversation of a file and what stands beside it. Raises `UserError`."""
    lines = read_text(path, "session").splitlines()
    try:
        found = [trajectory_from_json(json.loads(line)) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no session: {error}") from error
    except Refusal as error:
        raise UserError(f"{path} is no session: {error.sentence}") from error
    if not found:
        raise UserError(f"{path} is no session: it is empty")
    return found


def find_session(name: str, folder: Path) -> Path:
    """The file of a session: a path, an id or its beginning; the newest for an empty name. Raises `UserError`."""
    if name and Path(name).expanduser().is_file():
        return Path(name).expanduser()
    files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
    if not name:
        if not files:
            raise UserError(f"there is no session in {folder} yet")
        return files[-1]
    begins = [path for path in files if path.stem.startswith(name)]
    if len(begins) == 1:
        return begins[0]
    if begins:
        raise UserError(f"{len(begins)} sessions begin with {name}; /sessions lists them")
    raise UserError(f"there is no session {name}{nearest(name, [path.stem for path in files])}; /sessions lists them")
