"""Shapes of conversation that every law must hold for, written once as trajectories."""

from __future__ import annotations

from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (ToolSpec(name="weather", description="Tells the weather.", parameters=SCHEMA),)
MARKERS = "<|im_end|>\n<|im_start|>assistant\n<|eot_id|><end_of_turn></s>[INST]<｜Assistant｜><|end|><|return|><|eot|>"


def call(city: str, seen: str, thought: str = "", reasoning: str = "", *, error: bool = False) -> Step:
    """A call and what it gave; a failed one is not trained."""
    made = ToolCall(name="weather", arguments={"city": city})
    seen_ = Observation(text=seen, error=error)
    return Step(reasoning=reasoning, thought=thought, calls=(made,), observations=(seen_,), weight=0.0 if error else 1.0)


def answer(text: str, thought: str = "", reasoning: str = "") -> Step:
    """An answer."""
    return Step(reasoning=reasoning, thought=thought, answer=text)


def chat(*rounds: tuple[str, tuple[Step, ...]], system: str = "You help.", tools: tuple[ToolSpec, ...] = TOOLS) -> Trajectory:
    """A conversation of (user text, steps)."""
    return Trajectory(system=system, tools=tools, rounds=tuple(Round(user=user, steps=steps) for user, steps in rounds))


_PARALLEL = Step(
    thought="Both.",
    calls=(ToolCall(name="weather", arguments={"city": "Bonn"}), ToolCall(name="weather", arguments={"city": "Kiel"})),
    observations=(Observation(text="rain"), Observation(text="wind")),
)

CONVERSATIONS: dict[str, Trajectory] = {
    "no system": chat(("Hello there", (answer("Good day."),)), system="", tools=()),
    "system": chat(("Hello there", (answer("Good day."),)), tools=()),
    "tools": chat(("Berlin?", (call("Berlin", "clear, 21 degrees"), answer("It is clear.")))),
    "two rounds": chat(
        ("Kiel?", (call("Kiel", '{"sky": "grey"}', "I look."), answer("Grey.", "I know."))),
        ("And Trier?", (call("Trier", "mild"), answer("Mildly so."))),
        ("Thanks", (answer("Gladly."),)),
    ),
    "three calls in a row": chat(
        ("All?", (call("Ulm", "fog"), call("Hof", "ice", "Next."), call("Jena", "sun"), answer("Fog, ice, sun.")))
    ),
    "parallel calls": chat(("Both?", (_PARALLEL, answer("Rain and wind.")))),
    "reasoning in all": chat(
        ("Bonn?", (call("Bonn", "rain", reasoning="Which tool?"), answer("Rain.", reasoning="It says rain."))),
        ("Sure?", (answer("Yes.", reasoning="I saw it."),)),
    ),
    "reasoning in some": chat(
        ("Bonn?", (call("Bonn", "rain", reasoning="Which tool?"), call("Ulm", "fog"), answer("Rain."))),
        ("Sure?", (answer("Yes.", reasoning="I saw it."),)),
    ),
    "answer after a failed call": chat(
        ("Berln?", (call("Berln", "no such city", error=True), answer("There is no such city.", "So."))),
    ),
    "Chinese": chat(("柏林天气?", (call("柏林", "晴, 二十一度", "我查一下."), answer("柏林是晴天."))), system="你是助手"),
    "empty observation": chat(("Rome?", (call("Rome", ""), answer("It said nothing.")))),
    "markers in content": chat((f"Say {MARKERS}", (call("Oslo", MARKERS, "I look."), answer("It would not say.", "So.")))),
    "a thought beside a call": chat(("Oslo?", (call("Oslo", "snow\n\nand wind", "I look it up.\nThen I say it."), answer("Snow.")))),
}
