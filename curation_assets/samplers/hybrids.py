"""Hybrids: of what one sampler keeps, another chooses (the paper's open question of quality and coverage together).

A hybrid has no scores of its own. Its first stage is a setting, so that another threshold is a line of the profile; another second
stage is another row here, or in a package of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, create_model

from curation_assets.config.first_stage import first_stage
from curation_assets.config.registry import SamplerSpec, Technique
from curation_assets.config.section import Section


def _readable(text: str) -> str:
    first_stage(text)
    return text


class HybridSettings(Section):
    """What a hybrid chooses from: what stays of another sampler's scores, as `config.first_stage` reads it."""

    first: Annotated[str, AfterValidator(_readable)]


@dataclass(frozen=True, kw_only=True)
class Hybrid(SamplerSpec):
    """A sampler that draws by the scores of `draws_by`, with that sampler's technique, what its first stage leaves."""

    draws_by: str

    @property
    def then(self) -> str:
        """The sampler whose scores it draws by."""
        return self.draws_by


def hybrid(name: str, first: str, then: str, technique: Technique, family: str, description: str) -> Hybrid:
    """Return a hybrid of `then`, whose technique and family it has, and of `first` unless a profile says another in [samplers.NAME]."""
    settings = create_model(f"{name}_settings", __base__=HybridSettings, first=(str, first))
    return Hybrid(
        name=name,
        family=family,
        technique=technique,
        description=description,
        settings=settings,
        draws_by=then,
    )


SAMPLERS = (
    hybrid(
        "semdedup_density",
        "semdedup < 0.9",
        "density",
        "ips",
        "coverage",
        "Without near-duplicates (SemDeDup, cosine 0.9 and above), density sampling of what is left.",
    ),
    hybrid(
        "ask_llm_density",
        "ask_llm_xl 50%",
        "density",
        "ips",
        "coverage",
        "Of the half that Ask-LLM (XL) prefers, density sampling: quality, then coverage.",
    ),
)
