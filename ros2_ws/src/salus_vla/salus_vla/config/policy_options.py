"""Names that options, parameters and files share: policies, ways to run the ensemble, models that come with SALUS."""

from __future__ import annotations

from typing import Final

ENSEMBLE: Final = "ensemble"  # the policy that has a model
POLICIES: Final = (ENSEMBLE, "expert", "hold")
MODES: Final = ("auto", "eager", "compile", "cuda_graph")
DTYPES: Final = ("auto", "stored", "fp32")
BUILTIN_TINY: Final = "builtin:tiny"
BUILTIN_COMPACT: Final = "builtin:compact"
DEFAULT_MODEL: Final = BUILTIN_COMPACT
MANIFEST: Final = "salus_model.json"
