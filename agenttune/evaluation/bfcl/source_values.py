"""Java and JavaScript literals as BFCL reads them: a value arrives as source code and is converted to the parameter's type.

After ``eval_checker/ast_eval/type_convertor`` of bfcl-eval 2026.3.23 (Apache-2.0), its leniencies included: what cannot be converted
stays text. Each ``read_*`` takes the code, the type as BFCL names it, and the type of the elements.
"""

from __future__ import annotations

import re

from agenttune.values.trajectory import Json

_INTEGER, _FRACTION = r"^-?\d+$", r"^-?\d+(\.\d+)?([eE][+-]?\d+)?"


def read_java(code: str, kind: str, inner: str | None = None) -> Json:
    """``read_java("5L", "long")`` is 5, ``read_java("new int[]{1, 2}", "Array", "integer")`` is [1, 2]."""
    if kind in ("byte", "short", "integer"):
        return int(code) if re.match(_INTEGER, code) else code
    if kind == "float":
        return float(code[:-1]) if re.match(_FRACTION + "[fF]$", code) else code
    if kind == "double":
        return float(code) if re.match(_FRACTION + "$", code) else code
    if kind == "long":
        return int(code[:-1]) if re.match(r"^-?\d+[lL]$", code) else code
    if kind == "boolean":
        return code == "true" if code in ("true", "false") else code
    readers = {"ArrayList": _java_list, "Array": _java_array}
    if kind in readers:
        return readers[kind](code, inner)
    return _java_map(code) if kind == "HashMap" else code


def _java_list(code: str, inner: str | None) -> Json:
    if found := re.search(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)", code):
        return [_java_element(one.strip(), inner) for one in found.group(1).split(",")]
    if found := re.search(r"new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}", code, re.DOTALL):
        return [_java_element(one.strip(), inner) for one in re.findall(r"add\((.+?)\)", found.group(1))]
    return [] if re.search(r"new\s+ArrayList<\w*>\(\)", code) else code


def _java_element(code: str, inner: str | None) -> Json:
    if inner in ("char", "String"):
        return code[1:-1]  # without its quotes
    return read_java(code, inner) if inner else _java_guess(code)


def _java_array(code: str, inner: str | None) -> Json:
    found = re.search(r"new\s+\w+\[\]\s*\{(.*?)\}", code)
    if not found:
        return code
    parts = [one.strip() for one in found.group(1).split(",") if one.strip()]
    return [read_java(one, inner) if inner else _java_guess(one) for one in parts]


def _java_map(code: str) -> Json:
    found = re.search(r"new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}", code, re.DOTALL)
    if found:
        return {key: _java_guess(value.strip()) for key, value in re.findall(r"put\(\"(.*?)\",\s*(.*?)\)", found.group(1))}
    return {} if re.search(r"new\s+HashMap<.*?>\s*\(\)", code) else code


def _java_guess(code: str) -> Json:
    if code in ("true", "false"):
        return code == "true"
    if code.startswith('"') and code.endswith('"'):
        return code[1:-1]
    if re.match(r"^-?\d+[lL]$", code):
        return int(code[:-1])
    if re.match(_FRACTION + "[fF]$", code):
        return float(code[:-1])
    return _number(code)


def _number(code: str) -> Json:
    for kind in (int, float):
        try:
            return kind(code)
        except ValueError:
            continue
    return code


def read_javascript(code: str, kind: str, inner: str | None = None) -> Json:
    """``read_javascript("'a'", "String")`` is "a", ``read_javascript("[1, 2]", "array", "integer")`` is [1, 2]."""
    if kind == "String":
        return code[1:-1] if _quoted(code) else code
    if kind == "integer":
        return int(code) if re.match(_INTEGER, code) else code
    if kind == "float":
        return float(code) if re.match(r"^-?\d+(\.\d+)?$", code) else code
    if kind == "Bigint":
        return int(code[:-1]) if re.match(r"^-?\d+n$", code) else code
    if kind == "Boolean":
        return code == "true" if code in ("true", "false") else code
    if kind == "array":
        return _javascript_array(code.strip(), inner)
    return _javascript_object(code.strip()) if kind == "dict" else code


def _quoted(code: str) -> bool:
    return any(code.startswith(mark) and code.endswith(mark) for mark in ('"', "'"))


_ROWS = r"\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]|\bnew\s+Array\(\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\)"


def _javascript_array(code: str, inner: str | None) -> Json:
    if found := re.match(_ROWS, code):
        rows = [row.strip() for row in re.findall(r"\[(.*?)\]", found.group(0))]
        rows = [row[1:] if number == 0 and row.startswith("[") else row for number, row in enumerate(rows)]
        return [[_javascript_guess(one.strip()) for one in row.split(",")] for row in rows]
    flat = re.match(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)", code)
    if not flat:
        return code
    text = (flat.group(1) if flat.group(1) is not None else flat.group(2) or "").strip()
    parts = [one.strip() for one in text.split(",")] if text else []
    try:
        return [read_javascript(one, inner) if inner else _javascript_guess(one) for one in parts]
    except RecursionError:
        return code


def _javascript_object(code: str) -> Json:
    if code == "{}":
        return {}
    found = re.match(r"\{(.*?)\}", code)
    if not found:
        return code
    made: dict[str, Json] = {}
    for key, value in re.findall(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)", found.group(1)):
        made[key.strip().strip("'\"")] = _javascript_member(value.strip())
    return made


def _javascript_member(code: str) -> Json:
    if code.startswith("[") and code.endswith("]"):
        return _javascript_array(code, None)
    if code.startswith("{") and code.endswith("}"):
        return _javascript_object(code)
    return _javascript_guess(code.strip("'\""))


def _javascript_guess(code: str) -> Json:
    code = code.strip()
    if code in ("true", "false"):
        return code == "true"
    return code[1:-1] if _quoted(code) else _number(code)
