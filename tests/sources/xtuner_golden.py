"""The golden pair of the real data: one converted record, and the raw record it comes from, put together out of its published parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CALL = '{"api_name": "modelscope_text-address", "url": "http://x/", "parameters": {"text": "%s"}}'
RESULT = '{"prov": "北京市", "city": "北京市", "district": "海淀区", "road": "中关村大街", "number": "27号"}'
FENCED = "<|startofthink|>```JSON\n%s\n```<|endofthink|>\n\n<|startofexec|>```JSON\n%s\n```<|endofexec|>\n%s"


def golden_pair(data_dir: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """(raw record, the turns of it that are published as XTuner made them)."""
    head = json.loads((data_dir / "msagent" / "dev0_raw_system_head.json").read_text(encoding="utf-8"))["system_head"]
    golden = json.loads((data_dir / "msagent" / "dev0_converted_golden.json").read_text(encoding="utf-8"))["converted"]["conversation"]
    said = golden[1]["output"].removeprefix("Final Answer:").rstrip("\n")
    first = FENCED % (CALL % "北京市海淀区中关村大街27号", RESULT, said)
    second = FENCED % (CALL % "北京市海淀区上地十街10号院", "{}", "好。")
    users = [golden[at]["input"].removesuffix("\n") for at in (0, 2)]
    said_by = [("system", head), ("user", users[0]), ("assistant", first), ("user", users[1]), ("assistant", second)]
    return {"id": "0", "conversations": [{"from": role, "value": text} for role, text in said_by]}, golden
