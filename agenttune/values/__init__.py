"""The values that flow between stages: frozen, slotted, keyword-only dataclasses."""
