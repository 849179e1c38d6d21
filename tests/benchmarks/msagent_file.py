"""A file in MSAgent-Bench's form, as large as one likes: about 1,000 tokens a record, three in ten without a call, plugins that repeat.

``conversations`` is the text of a Python list, as ModelScope's SDK gives it and XTuner's map function wants it. Every record is one that
XTuner keeps: one call a round, JSON everywhere, the fence it knows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SYSTEMS = 400
WORDS = str.split(
    "地址 天气 翻译 图片 生成 语音 识别 文本 抽取 视频 城市 北京市 中关村 查询 结果 请求 输入 输出 用户 模型 信息 服务 订单 价格 明天 上海 "
    "search weather report table chapter image vector music market price order train flight hotel ticket model token batch"
)


def write(path: Path, records: int, *, seed: int = 0, scale: float = 1.0) -> Path:
    """Writes the file; the same bytes for the same numbers. `scale` makes every text longer or shorter."""
    chance = Scaled(seed, scale)
    systems = [_system(chance, number) for number in range(SYSTEMS)]
    with open(path, "w", encoding="utf-8") as file:
        for number in range(records):
            names, system = chance.choice(systems)
            messages = [{"from": "system", "value": system}, *_rounds(chance, names)]
            file.write(json.dumps({"id": f"MS_Agent_Bench_{number}", "conversations": repr(messages)}, ensure_ascii=False) + "\n")
    return path


class Scaled(random.Random):
    """Chance, and how long texts are."""

    def __init__(self, seed: int, scale: float) -> None:
        super().__init__(seed)
        self.scale = scale


def _rounds(chance: Scaled, names: list[str]) -> Iterator[dict[str, str]]:
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        yield {"from": "user", "value": _text(chance, 30)}
        if chance.random() < 0.3:
            yield {"from": "assistant", "value": _text(chance, 90)}
            continue
        call = {"api_name": chance.choice(names), "url": "http://h.example/api", "parameters": {"text": _text(chance, 12), "n": "2"}}
        result: dict[str, Any] = {"result": [{"name": _text(chance, 2), "score": chance.randrange(100)} for _ in range(4)]}
        think = f"<|startofthink|>```JSON\n{json.dumps(call, ensure_ascii=False)}\n```<|endofthink|>"
        seen = f"<|startofexec|>```JSON\n{json.dumps(result, ensure_ascii=False)}\n```<|endofexec|>"
        yield {"from": "assistant", "value": f"{_text(chance, 8)}{think}\n\n{seen}\n{_text(chance, 40)}"}


def _system(chance: Scaled, number: int) -> tuple[list[str], str]:
    names = [f"modelscope_{number % 37}-{one}" for one in range(chance.randint(2, 4))]
    items = [_plugin(chance, name) for name in names for _ in range(chance.choice((1, 1, 2)))]
    listed = "\n\n".join(f"{place}. {json.dumps(item, ensure_ascii=False)}" for place, item in enumerate(items, 1))
    return names, f"你是达摩院的ModelScopeGPT（魔搭助手），你是个大语言模型。{_text(chance, 20)}{listed}\n\n"


def _plugin(chance: Scaled, name: str) -> dict[str, Any]:
    given = [{"name": key, "description": _text(chance, 5), "required": "True"} for key in ("text", "n")]
    path = {"name": name, "model_id": "/damo/x", "method": "post", "description": _text(chance, 8), "parameters": given}
    inner = {"name": name, "description": _text(chance, 8), "url": f"http://{chance.randrange(99)}.example/", "paths": [path]}
    return {"plugin_name": name, "plugin_owner": "ModelScopeGPT", "plugin_type": "default", "plugin_schema_for_model": inner}


def _text(chance: Scaled, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=max(1, int(words * chance.scale))))
