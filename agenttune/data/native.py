"""Which family's native protocol a model's chat template writes, and the writer of a sample under it."""

from __future__ import annotations

from agenttune import protocols
from agenttune.errors import UserError
from agenttune.protocols.native import FAMILIES, NATIVE, NativeProtocol
from agenttune.templates import Template, TurnWriter
from agenttune.templates.jinja import JinjaTemplate
from agenttune.templates.native_template import native_of, native_template
from agenttune.values.sample import Sample


def writer_of(sample: Sample, template: Template) -> TurnWriter:
    """What writes the turns of a sample: the template, or under a native protocol the template with the sample's tools.

    Raises `UserError` where the template does not write the sample's protocol, `Refusal` where it cannot hold the tools.
    """
    protocol = protocols.get(sample.protocol)
    return native_of(template, protocol).under(sample.tools) if isinstance(protocol, NativeProtocol) else template


def resolve(name: str, template: Template) -> str:
    """The name of a protocol as samples carry it: ``native`` becomes ``native/FAMILY``, the family that `template` writes.

    Raises `UserError` for an unknown name, for a template that writes no calls or those of a family that is not known here, and for
    another family's name.
    """
    protocols.check(name)
    if name != NATIVE:
        protocol = protocols.get(name)
        if isinstance(protocol, NativeProtocol):
            native_of(template, protocol)
        return name
    if not isinstance(template, JinjaTemplate):
        raise UserError("the protocol native is written by the tokenizer's own chat template: say template=auto")
    found = native_template(template, FAMILIES)
    if found is None:
        raise UserError(
            f"the chat template of {template.tokenizer.name} writes no tool calls in the words of a family that is known here "
            f"({', '.join(one.family for one in FAMILIES)}); use --protocol hermes or react"
        )
    template.natives[found.reader.name] = found
    return found.reader.name
