"""Sentences around a request and an answer, apart for the splits where a model reads them."""

from __future__ import annotations

SYSTEMS = (
    "You are a helpful assistant.",
    "You are a desk assistant with tools.",
    "Answer the user. Use a tool where one fits.",
    "You help people with everyday questions.",
    "You are an assistant who can call tools.",
)
SYSTEMS_ZH = ("你是一个有用的助手。", "你是一个会使用工具的助手。")

BEFORE = {
    "train": (
        "Hi! ", "Hello! ", "Please help: ", "Quick question: ", "One more thing. ", "Excuse me. ", "Hey! ", "Good morning. ",
        "Sorry to bother you. ",
    ),
    "dev": ("Hi there! ", "A little request: ", "Dear assistant: ", "Good day. "),
    "heldout": ("Hallo! ", "May I ask you something? ", "Just wondering: ", "Here is the next one. "),
}  # fmt: skip
AFTER = {
    "train": (" Thanks!", " Thank you.", " It's urgent.", " Please be quick.", " I'd be grateful."),
    "dev": (" Many thanks.", " I'm in a hurry."),
    "heldout": (" Thanks in advance.", " That would help me a lot."),
}
FOLLOW = ("", "", "Then: ", "After that: ", "And one more thing. ", "Second question: ")

NO_TOOL = (
    "I have no tool to {gloss}.",
    "None of my tools can {gloss}.",
    "Sorry, no tool in the list can {gloss}.",
    "I can't {gloss} with these tools.",
)
NO_TOOL_ZH = ("我没有可以{gloss}的工具。", "抱歉，列表里没有工具能{gloss}。")
ASK = ("Please tell me the {label}.", "What is the {label}?", "I need the {label} for that.", "Which {label} do you mean?")
ASK_ZH = ("请告诉我{label}。", "请问{label}是什么？")
RETRY = ("That failed; try once more with {name}.", "It was busy. Call {name} again.", "Try {name} again.")
REPAIR = ("The date must be written as YYYY-MM-DD; call {name} again.", "Write the date as {name} asks.")
THEN = ("Next: ", "Now: ", "Then: ")
BUSY = ("the service is busy, try again", "timed out, try again", "connection lost, please try again")
NONE = {"en": "No tool", "zh": "没有合适的工具"}
TALK = {"en": "Just talk", "zh": "聊天"}
FITS = {"en": "It fits", "zh": "合适"}
FITS_NOT = {"en": "It does not fit", "zh": "不合适"}
LACKS = {"en": "but the {label} is missing.", "zh": "但缺少{label}。"}
