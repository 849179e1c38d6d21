"""Models of the transformers library, with their adapters."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune.errors import UserError
from agenttune.models.adapter_patterns import resolve_patterns
from agenttune.models.base import Prefix, SequenceBatch
from agenttune.models.card import fingerprint, read_card
from agenttune.models.declared_sizes import check_counts, check_ranks, tensor_shapes
from agenttune.models.device import pick_device, pick_dtype
from agenttune.models.library_messages import mute_bitsandbytes, mute_deepspeed, no_library_messages
from agenttune.models.locate import ModelLocation, is_adapter, locate
from agenttune.models.tokenizer import wrap_tokenizer
from agenttune.values.adapter import Card
from agenttune.values.tokens import Tokenizer

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["HFModel", "load_beside", "load_model", "load_models", "load_pretrained", "load_tokenizer", "wrap_tokenizer"]


class HFModel:
    """A transformers causal language model as a `Model`. `hf` is the library's own object, adapter included.

    `folder` is where the base's weights and tokenizer were loaded from.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        name: str,
        card: Card | None = None,
        base_fingerprint: str = "",
        folder: Path | None = None,
    ) -> None:
        from agenttune.models.sequence_batch import CachedForward

        self.hf = hf
        self.folder = folder
        self.name = name
        self.tokenizer = tokenizer
        self.card = card
        self.fingerprint = base_fingerprint or fingerprint(hf)
        self.context = int(getattr(hf.config.get_text_config(decoder=True), "max_position_embeddings", None) or 1 << 30)
        self._forward = CachedForward(hf)

    @property
    def token_bytes(self) -> int:
        """What the key-value cache holds for one token, in bytes."""
        from agenttune.models.key_value_cache import token_bytes

        return token_bytes(self.hf.config, self.hf.dtype.itemsize)

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> SequenceBatch:
        """See `Model.start`."""
        from agenttune.models.sequence_batch import HFBatch

        return HFBatch(self._forward, prompts, prefixes)

    def read_ahead(self, ids: Sequence[int], prefix: Prefix) -> None:
        """See `Model.read_ahead`."""
        self.start([ids], [prefix])

    def copied(self, prefix: Prefix, length: int) -> Prefix | None:
        """See `Model.copied`."""
        from agenttune.models.key_value_cache import plain, stacked

        if not 0 < length <= len(prefix.ids) or not plain(prefix.state):
            return None
        state, _ = stacked(self.hf.config, [(prefix.state, 0, 0, length)], self._forward.device)
        return Prefix(ids=prefix.ids[:length], state=state)


def load_pretrained(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    bits: int | None = None,
    sharded: bool = False,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(transformers model in evaluation mode, transformers tokenizer) of a name, folder, GGUF file or hub id.

    `bits` 4 is NF4 with double quantisation (Dettmers et al., arXiv 2305.14314), 8 is LLM.int8 (arXiv 2208.07339), both by
    bitsandbytes. With `sharded`, ZeRO-3 puts the weights where they go, and quantised
    ones are stored as numbers of `dtype`: integers it would leave whole on every rank.
    `trust_remote_code` runs code that a checkpoint brings, and is for a person to say.
    Raises `UserError` for whatever a person must change.
    """
    place = locate(name, remote_code=trust_remote_code)
    return _model(place, device, dtype, bits, sharded, trust_remote_code), _tokenizer(place, trust_remote_code)


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model, without the model."""
    return wrap_tokenizer(_tokenizer(locate(name, weights=False)))


def load_model(name: str, adapter: str | None, device: str, dtype: str, bits: int | None) -> HFModel:
    """See `agenttune.models.load`."""
    base, adapter = base_and_adapter(name, adapter)
    (found,) = load_models(base, [adapter], device, dtype, bits)
    return found


def base_and_adapter(name: str, adapter: str | None) -> tuple[str, str | None]:
    """See `agenttune.models.base_and_adapter`."""
    return (_base_of(name), name) if adapter is None and is_adapter(name) else (name, adapter)


def load_models(name: str, adapters: Sequence[str | None], device: str, dtype: str, bits: int | None) -> tuple[HFModel, ...]:
    """A model with each of several adapters (None: the base alone), over one copy of the base's weights. Raises `UserError`.

    A single adapter is merged into weights of float32; several are computed beside the weights they share.
    """
    place = locate(name)
    hf = _model(place, device, dtype, bits)
    base = HFModel(hf, wrap_tokenizer(_tokenizer(place)), name=name, card=read_card(place.folder), folder=place.folder)
    if len(adapters) == 1 and adapters[0] is not None:
        return (_adapted(base, hf, adapters[0], merge=bits is None),)
    return tuple(base if adapter is None else load_beside(base, adapter) for adapter in adapters)


def load_beside(base: HFModel, adapter: str) -> HFModel:
    """See `agenttune.models.load_beside`."""
    return _adapted(base, None, adapter, merge=False)


def _adapted(base: HFModel, own: PreTrainedModel | None, adapter: str, *, merge: bool) -> HFModel:
    """`base` with an adapter, over its own weights where they are needed for nothing else, else over weights shared with it."""
    card = _checked_card(adapter, base.name, base.fingerprint)
    hf = _with_adapter(own if own is not None else _sharing(base.hf, adapter), adapter, base.name, merge=merge)
    return HFModel(hf, base.tokenizer, name=base.name, card=card, base_fingerprint=base.fingerprint, folder=base.folder)


def _sharing(base: PreTrainedModel, adapter: str) -> PreTrainedModel:
    """A model of the same layers over the same tensors; what the adapter brings whole is its own, as PEFT writes it in place."""
    brought = tensor_shapes(Path(adapter) / "adapter_model.safetensors")
    shared = [*base.named_parameters(remove_duplicate=False), *base.named_buffers(remove_duplicate=False)]
    own = {id(tensor) for key, tensor in shared if any(name.endswith(f".{key}") for name in brought)}
    memo = {id(tensor): tensor for _, tensor in shared if id(tensor) not in own}
    found: PreTrainedModel = copy.deepcopy(base, memo)
    return found


def _model(
    place: ModelLocation, device: str, dtype: str, bits: int | None, sharded: bool = False, remote_code: bool = False
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    place.need_safetensors()
    where = pick_device(device)
    mute_deepspeed(where)
    kind = pick_dtype(dtype, where)
    options: dict[str, Any] = {"dtype": kind, "use_safetensors": True, "local_files_only": True}
    options["trust_remote_code"] = remote_code
    if (bits is not None or where != "cpu") and not sharded:
        options["device_map"] = {"": where}
    with _sentences(place), no_library_messages():
        if bits is not None:
            options["quantization_config"] = _quantisation(bits, kind, kind if sharded else None)
        config = _config(place, remote_code)
        check_counts(config.to_dict(), tensor_shapes(*place.folder.glob("*.safetensors")), f"the model {place.name}")
        model, report = AutoModelForCausalLM.from_pretrained(place.folder, config=config, **options, output_loading_info=True)
    if report["missing_keys"]:
        raise UserError(
            f"the model {place.name} lacks weights, {sorted(report['missing_keys'])[0]} for one; the download may be incomplete"
        )
    model.config._name_or_path = place.known_as  # an adapter's PEFT file names its base by this
    return model.eval()


_SPARSE = 1 << 20  # numbers that no token has
# A config.json may ask for these, which lie in the installed libraries. For any other name transformers asks a hub for a kernel, local
# files only or not; flash attention is the trainer's to choose, where it is installed.
_ATTENTION = frozenset({"eager", "sdpa", "flex_attention"})


def _config(place: ModelLocation, remote_code: bool) -> PreTrainedConfig:
    """The model's config.json. What it asks for that would be fetched and run is left out, with a warning."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(place.folder, trust_remote_code=remote_code, local_files_only=True)
    parts = [config, *(part for key in config.sub_configs if (part := getattr(config, key, None)) is not None)]
    for part in parts:
        asked = part._attn_implementation
        if asked is not None and asked not in _ATTENTION:
            warnings.warn(f"the model {place.name} asks for the attention {asked!r}, which is left out: a file names none", stacklevel=2)
            part._attn_implementation = None
    return config


def _quantisation(bits: int, dtype: torch.dtype, storage: torch.dtype | None = None) -> BitsAndBytesConfig:
    from transformers import BitsAndBytesConfig

    if bits not in (4, 8):
        raise UserError(f"--bits must be 4 or 8, not {bits}")
    mute_bitsandbytes()
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=storage,
    )


def _tokenizer(place: ModelLocation, remote_code: bool = False) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    with _sentences(place), no_library_messages():
        found = AutoTokenizer.from_pretrained(place.folder, use_fast=True, trust_remote_code=remote_code, local_files_only=True)
        _check_ids(found, place)
    found.name_or_path = place.name
    return found


def _check_ids(tokenizer: PreTrainedTokenizerBase, place: ModelLocation) -> None:
    """Raises `UserError` where a token has a number far beyond their count: the library copies a vocabulary number by number."""
    ids = tokenizer.get_vocab().values()
    largest = max(ids, default=0)
    if largest > _SPARSE + 4 * len(ids):
        raise UserError(f"the tokenizer of {place.name} gives a token the number {largest}, and has {len(ids)} tokens; get the model again")


@contextlib.contextmanager
def _sentences(place: ModelLocation) -> Iterator[None]:
    """What the library says about a folder it cannot read, as one sentence for a person."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever a broken file does to the libraries is told with the folder's name
        said = str(error)
        if "trust_remote_code" in said or "execute the" in said:
            raise UserError(
                f"the model {place.name} needs code of its own, which train runs only with trust_remote_code=true, where you trust it, and "
                "chat and eval never run: use a checkpoint of a kind that transformers knows"
            ) from error
        raise UserError(f"cannot load the model {place.name} from {place.folder}: {_words(error)}") from error


def _words(error: Exception) -> str:
    """What an error of a library says, in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _base_of(adapter: str) -> str:
    card = read_card(adapter)
    if card is not None:
        return card.base
    base = _peft_config(adapter).base_model_name_or_path
    if not base:
        raise UserError(f"{adapter} is an adapter and does not name its base; give the base as the model and this as --adapter")
    return str(base)


def _checked_card(adapter: str, name: str, mark: str) -> Card | None:
    if not is_adapter(adapter):
        raise UserError(f"{adapter} is no adapter folder: it has no adapter_config.json")
    if not (Path(adapter) / "adapter_model.safetensors").is_file():
        raise UserError(f"the adapter {adapter} has no adapter_model.safetensors; pickled weights (.bin) are never read")
    card = read_card(adapter)
    if card is not None and card.base_fingerprint and card.base_fingerprint != mark:
        raise UserError(f"the adapter {adapter} was trained on {card.base}, and {name} is another model; load it with --model {card.base}")
    return card


def _peft_config(adapter: str) -> PeftConfig:
    from peft import PeftConfig

    try:
        return PeftConfig.from_pretrained(adapter)
    except Exception as error:  # PEFT takes the file's keys for its own arguments; what comes of that is told with the file's name
        raise UserError(f"cannot read {adapter}/adapter_config.json: {_words(error)}") from error


def _embeddings(hf: PreTrainedModel) -> tuple[str, ...]:
    """The weights that PEFT may save beside an adapter: whole input and output embeddings."""
    whole = (hf.get_input_embeddings(), hf.get_output_embeddings())
    return tuple(f"{name}.weight" for name, module in hf.named_modules() if any(module is one for one in whole))


def _with_adapter(hf: PreTrainedModel, adapter: str, name: str, *, merge: bool) -> PreTrainedModel:
    """The model with the adapter: merged into the weights where they are float32, so that rounding loses nothing, else beside them."""
    mute_bitsandbytes()  # peft imports it where it is installed
    config = _peft_config(adapter)
    if config.is_prompt_learning:
        raise UserError(f"the adapter {adapter} is of the kind {config.peft_type.value}; adapters of weights (LoRA and its kin) are read")
    there = tensor_shapes(Path(adapter) / "adapter_model.safetensors")
    check_ranks(config.to_dict(), there, f"the adapter {adapter}")
    resolve_patterns(config, [module for module, _ in hf.named_modules()], f"the adapter {adapter}")
    try:
        found = _fitted(hf, adapter, config, there.keys(), merge)
    except NotImplementedError as error:
        raise UserError(f"cannot load the adapter {adapter}: {_words(error)}") from error
    except (RuntimeError, ValueError, KeyError, UserWarning):
        found = None
    except Exception as error:  # whatever a broken file does to the library is told with the file's name
        raise UserError(f"cannot load the adapter {adapter}: {_words(error)}") from error
    if found is None:
        raise UserError(f"the adapter {adapter} does not fit {name}: it was trained on another base ({config.base_model_name_or_path})")
    return found


def _fitted(hf: PreTrainedModel, adapter: str, config: PeftConfig, there: Set[str], merge: bool) -> PreTrainedModel | None:
    """The model with an adapter whose file holds the weights `there`; None where these are not the ones that its config asks for."""
    import torch
    from peft import PeftModel, get_peft_model_state_dict

    from agenttune.models.lora import fix_lora

    with no_library_messages(), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Found missing adapter keys")
        made: PeftModel = PeftModel.from_pretrained(hf, adapter, config=config, local_files_only=True)
    wanted = set(get_peft_model_state_dict(made, save_embedding_layers=False))
    if wanted - there or not all(key.endswith(_embeddings(hf)) for key in there - wanted):
        return None
    if merge and hf.dtype == torch.float32:
        return made.merge_and_unload().eval()
    found = made.get_base_model().eval()
    fix_lora(found)
    return found
