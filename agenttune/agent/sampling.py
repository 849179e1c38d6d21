"""The next id from logits: repetition penalty, temperature, top-k, top-p, in the order that transformers applies them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttune.values.tokens import SamplingParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Sampler:
    """One row's choices; its random numbers come from the seed and the row's number alone."""

    def __init__(self, sampling: SamplingParams, row: int, prompt: list[int]) -> None:
        import numpy

        self._sampling = sampling
        self._random = numpy.random.default_rng([sampling.seed, row])
        self._seen = set(prompt)

    def pick(self, logits: NDArray[np.float32]) -> int:
        """An id, of ``logits[vocabulary]``."""
        token = self._pick(self._penalised(logits))
        self._seen.add(token)
        return token

    def _penalised(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Keskar et al., "CTRL" (arXiv 1909.05858), section 4.1, in the form that keeps negative logits negative."""
        import numpy

        found: NDArray[np.float64] = logits.astype(numpy.float64)
        if self._sampling.repetition_penalty != 1.0:
            seen = list(self._seen)
            score = found[seen]
            penalty = self._sampling.repetition_penalty
            found[seen] = numpy.where(score > 0, score / penalty, score * penalty)
        return found

    def _pick(self, scores: NDArray[np.float64]) -> int:
        import numpy

        sampling = self._sampling
        if sampling.temperature <= 0:
            return int(scores.argmax())
        order = numpy.argsort(-scores, kind="stable")
        if 0 < sampling.top_k < len(order):
            order = order[: sampling.top_k]
        weights = numpy.exp((scores[order] - scores[order[0]]) / sampling.temperature)
        shares = weights / weights.sum()
        if sampling.top_p < 1:  # Holtzman et al., "nucleus sampling" (arXiv 1904.09751): the fewest ids that reach top_p
            kept = shares.cumsum() - shares < sampling.top_p
            kept[0] = True
            order, shares = order[kept], shares[kept] / shares[kept].sum()
        at = int(numpy.searchsorted(shares.cumsum(), self._random.random(), side="right"))
        return int(order[min(at, len(order) - 1)])


def greedy(sampling: SamplingParams) -> bool:
    """Whether the largest logit is all that is asked for."""
    return sampling.temperature <= 0 and sampling.repetition_penalty == 1.0
