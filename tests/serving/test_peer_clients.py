"""Clients that no one here wrote, each in an environment of its own, use tools through our server. All of them under ``AGENTTUNE_PROVE=1``.

The model is scripted, in the words of a ReAct adapter, so that what a client makes of a reply has one right outcome.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.peers import environment

# Behind the call stands what ends any text and object: the grammar makes a call of another tool of it, and stops where a call is whole.
CALL = 'Thought: I add.\nAction: add\nAction Input: {"a": 2, "b": 40}' + '"}' * 60
ANSWER = "Thought: Known.\nFinal Answer: It is 42."


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerClient:
    """What is installed for a client, what it is used for (a program that prints one JSON object), and what it must find."""

    packages: tuple[list[str], ...]
    program: str
    found: dict[str, Any]


LLM = """
import json, os, pathlib, subprocess, sys
home = pathlib.Path(sys.argv[2])
listed = {"model_id": "desk", "model_name": "desk", "api_base": sys.argv[1], "supports_tools": True, "supports_schema": True}
(home / "extra-openai-models.yaml").write_text(json.dumps([listed]))
os.environ |= {"LLM_USER_PATH": str(home), "OPENAI_API_KEY": "any"}
code = 'def add(a: int, b: int) -> int:\\n    "Adds."\\n    return a + b\\n'
schema = json.dumps({"type": "object", "properties": {"town": {"enum": ["Oslo", "Rome"]}}, "required": ["town"]})
ask = [sys.executable, "-m", "llm", "-m", "desk"]
tools = subprocess.run([*ask, "--functions", code, "--td", "What is 2 + 40?"], capture_output=True, text=True)
form = subprocess.run([*ask, "--no-stream", "--schema", schema, "Which town?"], capture_output=True, text=True)
print(json.dumps({"answer": tools.stdout.strip(), "ran": "add({'a': 2, 'b': 40})" in tools.stderr, "form": json.loads(form.stdout)}))
"""

PYDANTIC = """
import json, sys
from typing import Literal
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

class Town(BaseModel):
    name: Literal["Oslo", "Rome"]

model = OpenAIChatModel("desk", provider=OpenAIProvider(base_url=sys.argv[1], api_key="any"))
agent = Agent(model, system_prompt="Be brief.")
ran = []

@agent.tool_plain
def add(a: int, b: int) -> int:
    "Adds."
    ran.append([a, b])
    return a + b

answer = agent.run_sync("What is 2 + 40?").output
form = Agent(model, output_type=Town).run_sync("Which town?").output
print(json.dumps({"answer": answer, "ran": ran, "form": type(form).__name__}))
"""

INSPECT = """
import json, os, sys
os.environ |= {"DESK_BASE_URL": sys.argv[1], "DESK_API_KEY": "any", "INSPECT_LOG_DIR": sys.argv[2]}
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool

@tool
def add():
    async def execute(a: int, b: int) -> int:
        '''Adds.

        Args:
            a: a number
            b: a number
        '''
        return a + b
    return execute

task = Task(dataset=[Sample(input="What is 2 + 40?", target="42")], solver=[use_tools(add()), generate()], scorer=includes())
(log,) = eval(task, model="openai-api/desk/desk", display="none")
roles = [one.role for one in log.samples[0].messages]
print(json.dumps({"status": log.status, "accuracy": log.results.scores[0].metrics["accuracy"].value, "roles": roles}))
"""

BFCL = """
import json, os, sys
os.environ |= {"OPENAI_BASE_URL": sys.argv[1], "OPENAI_API_KEY": "any", "BFCL_PROJECT_ROOT": sys.argv[2]}
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler
from bfcl_eval.utils import load_dataset_entry

handler = OpenAICompletionsHandler("desk", 0.001, "desk-FC", True)
items = load_dataset_entry("simple_python")[:50]
named = 0
for item in items:
    result, _ = handler.inference(item, False, False)
    ((name, arguments),) = handler.decode_ast(result, None, False)[0].items()
    named += name == item["function"][0]["name"].replace(".", "_") and set(item["function"][0]["parameters"]["required"]) <= set(arguments)
print(json.dumps({"items": len(items), "calls that fit": named}))
"""

CLIENTS = {
    "llm": PeerClient(packages=(["llm==0.36"],), program=LLM, found={"answer": "It is 42.", "ran": True, "form": {"town": "Oslo"}}),
    "pydantic-ai": PeerClient(
        packages=(["pydantic-ai-slim[openai]==2.68.0"],),
        program=PYDANTIC,
        found={"answer": "It is 42.", "ran": [[2, 40]], "form": "Town"},
    ),
    "inspect_ai": PeerClient(
        packages=(["inspect-ai==0.3.285", "openai==3.57.0"],),
        program=INSPECT,
        found={"status": "success", "accuracy": 1.0, "roles": ["user", "assistant", "tool", "assistant"]},
    ),
    "bfcl-eval": PeerClient(  # without what its other handlers and tasks need: torch is among it
        packages=(
            ["--no-deps", "bfcl-eval==2026.3.23"],
            ["openai==3.57.0", "requests", "tqdm", "numpy", "python-dotenv", "filelock", "tree_sitter==0.21.3", "tree-sitter-java==0.21.0"],
            ["tree-sitter-javascript==0.21.4", "tenacity", "overrides", "mpmath", "networkx", "rank_bm25", "beautifulsoup4", "html2text"],
        ),
        program=BFCL,
        found={"items": 50, "calls that fit": 50},
    ),
}


def reply(prompt: str) -> str:
    """A call, and after its result the answer; what is forced otherwise is the grammar's."""
    last = prompt.rsplit("<|im_start|>", 2)[-2]
    return ANSWER if "Observation: 42" in last else CALL


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CLIENTS) if os.environ.get("AGENTTUNE_PROVE") else ["llm"])
def test_a_client_uses_tools_through_our_server(name: str, serving: Callable[..., Any], tmp_path: Path) -> None:
    client = CLIENTS[name]
    python = environment(name, *client.packages)
    if python is None:
        pytest.skip("no package index can be reached")
    base = f"http://127.0.0.1:{serving(reply).port}/v1"
    done = subprocess.run(
        [python, "-c", client.program, base, str(tmp_path)], capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name}: {found}")
    assert found == client.found
