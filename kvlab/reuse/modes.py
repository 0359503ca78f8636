"""Modes: what of the cache is reused when the gate opens, and how.

    none                     nothing: the control
    full                     prefix and state token: one consistent, stale moment
    prefix                   prefix; the state is fresh
    vision_only:HOW          camera segments
    state_only:HOW           the state token
    layer_wise:HOW           the lower half of the prefix's layers; layer_wise[:k] and layer_wise[k:] name others
    text_fixed:HOW           language, always from the episode's first step; cameras where the gate opens
    tokens:HOW               image tokens by VLA-Cache's rule, layer by layer (see `kvlab.reuse.tokens`); tokens[k:] all
                             from layer k on; tokens(random), (raster), (static), (inverse) as many by another rule;
                             tokens@previous compares with the frame before; HOW may be `fuse`, too (TTF-VLA's way)
    chunk                    what is left of the last chunk, as long as it is enough: no inference at all
    repeat                   the last chunk once more from its first action: what going on in it is held against

HOW is `splice`, which computes everything and overwrites slices (no time is saved), or `skip`, which computes only what
is fresh, attending to what is kept.

Pi0.5 has no state token: `full` and `prefix` are one there, and `state_only` is an error. Where its prompt holds the
state, it is another at every replan: `full` and `prefix` keep the old state with it, `vision_only` has the fresh one.
"""

import re
from dataclasses import dataclass

from kvlab.pi0.cache import LANGUAGE, STATE, KVCache
from kvlab.pi0.config import Pi0Config
from kvlab.pi0.model import Pi0
from kvlab.pi0.policy import Policy
from kvlab.reuse.tokens import Selection, parse_selection

KEPT = {
    "none": (),
    "full": ("vision", LANGUAGE, STATE),
    "prefix": ("vision", LANGUAGE),
    "vision_only": ("vision",),
    "state_only": (STATE,),
    "layer_wise": ("vision", LANGUAGE),
    "text_fixed": ("vision",),
    "chunk": (),  # nothing of the cache: its actions themselves
    "repeat": (),
    "tokens": (),  # no whole segment: `kvlab.reuse.tokens`
}
CHUNKS = ("chunk", "repeat")
WHOLE = ("none", "full", "prefix", *CHUNKS)  # nothing is computed and then overwritten, so there is only one way


@dataclass(frozen=True)
class Mode:
    """A parsed mode. `layers` (start, stop) limits it to those prefix layers; None there means the end, or half."""

    text: str
    name: str
    splice: bool
    layers: tuple[int | None, int | None] | None = None
    selection: Selection | None = None  # of tokens

    def __str__(self) -> str:
        return self.text

    def kept(self, config: Pi0Config, opened: bool, anchor: KVCache | None, first: KVCache | None) -> KVCache:
        """The segments to keep at this replan: from `anchor` where the gate opened, and those always from `first`."""
        order = (*config.cameras, LANGUAGE, STATE)
        kept = KVCache({})
        if opened:
            names = [n for kind in KEPT[self.name] for n in (config.cameras if kind == "vision" else (kind,))]
            kept = anchor.take(n for n in names if n in anchor.names)
        if self.name == "text_fixed" and first is not None:
            kept = kept.join(first.take([LANGUAGE]), order)
        return kept

    def require_fits(self, policy: Policy) -> None:
        """ValueError where this policy has nothing of what the mode names."""
        self.layer_range(policy.config.prefix.depth)
        if self.name == "tokens" and not isinstance(policy.model, Pi0):
            raise ValueError(
                f"{self.text!r} computes single tokens, which the engine does not: take the device cpu or cuda"
            )
        if self.selection and self.selection.start is not None and self.selection.start >= policy.config.prefix.depth:
            raise ValueError(_no_such_layers(self.text, policy.config.prefix.depth))
        if self.name == "state_only" and policy.config.pi05:
            raise ValueError(f"{self.text!r} keeps the state token, but Pi0.5 has none: use full, prefix, vision_only")
        if self.name in ("text_fixed", "layer_wise") and policy.prompt_has_state:
            raise ValueError(
                f"{self.text!r} needs a prompt that stays the same, and this model's holds the state: use full, prefix "
                "or vision_only"
            )

    def layer_range(self, depth: int) -> slice:
        """The reused layers of a prefix of `depth` layers. Raises ValueError where it has no such layers."""
        if self.name != "layer_wise":
            return slice(0, depth)
        start, stop = self.layers or (0, depth // 2)
        start, stop = start or 0, depth if stop is None else stop
        if not 0 <= start < stop <= depth:
            raise ValueError(_no_such_layers(self.text, depth))
        return slice(start, stop)


def _no_such_layers(text: str, depth: int) -> str:
    return f"{text!r} names layers that a prefix of {depth} layers does not have"


def parse_mode(text: str) -> Mode:
    """The mode that `text` describes. Raises ValueError that says what is wrong and what would be right."""
    if isinstance(text, str) and re.match(r"\s*tokens\b", text):
        selection = parse_selection(text)
        return Mode(text.strip(), "tokens", selection.way != "skip", selection=selection)
    match = re.fullmatch(r"(\w+)(?:\[(\d*):(\d*)\])?(?::(\w+))?", text.strip()) if isinstance(text, str) else None
    if not match or match[1] not in KEPT:
        raise ValueError(f"unknown mode {text!r}: modes are {', '.join(KEPT)}, the partial ones with :splice or :skip")
    name, start, stop, how = match.groups()
    layers = None if start is None else (int(start) if start else None, int(stop) if stop else None)
    if name in WHOLE and how:
        raise ValueError(f"{name!r} has one implementation only: write {name!r} in place of {text!r}")
    if name not in WHOLE and how not in ("splice", "skip"):
        raise ValueError(f"{text!r} does not say how: write {name}:splice or {name}:skip")
    if layers is not None and (name != "layer_wise" or (layers[0] is None) == (layers[1] is None)):
        raise ValueError(f"cannot read the layers in {text!r}: only layer_wise[:k] and layer_wise[k:] exist")
    if name == "layer_wise" and how == "skip" and (layers is None or layers[0] is None):
        raise ValueError(
            f"{text!r} cannot skip anything: the layers above need fresh inputs, which come out of the layers below; "
            "use layer_wise[k:]:skip, or :splice"
        )
    return Mode(text.strip(), name, how == "splice", layers)
