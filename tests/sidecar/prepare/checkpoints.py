"""Small models with random weights, made on the spot by the libraries that real ones are made with."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sidecar.engines.base import Float32

MAX_TOKENS = 96
HIDDEN = 64
_VOCABULARY = 600

#: Special tokens in the order of their ids, and what goes around a text.
_SPECIALS = {
    "bert": (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS]", "[SEP]", "[PAD]"),
    "fairseq": (["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s>", "</s>", "<pad>"),
}

FAMILIES = ("bert", "roberta", "xlm-roberta", "mpnet", "distilbert")


def make_model(
    folder: Path,
    family: str = "bert",
    pooling: str | Sequence[str] = "mean",
    *,
    dense: str | None = None,
    normalize: bool = True,
    prompts: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Save a sentence-transformers model into ``folder`` and return it. ``dense``: activation of a dense module."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    torch.manual_seed(seed)
    encoder = folder.with_name(folder.name + "-encoder")
    _encoder(family).save_pretrained(encoder)
    _tokenizer(family).save_pretrained(encoder)
    modes = pooling if isinstance(pooling, str) else tuple(pooling)
    modules: list[Any] = [
        Transformer(str(encoder), max_seq_length=MAX_TOKENS),
        Pooling(HIDDEN, pooling_mode=modes),
    ]
    if dense is not None:
        inputs = HIDDEN * (1 if isinstance(modes, str) else len(modes))
        activation = getattr(torch.nn, dense)()
        modules.append(Dense(inputs, 32, activation_function=activation))
    if normalize:
        modules.append(Normalize())
    with contextlib.redirect_stderr(io.StringIO()):
        model = SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
        model.save(str(folder), create_model_card=False)
    return folder


def reference(folder: Path) -> Float32:
    """The library's own rows of the probe texts."""
    from sentence_transformers import SentenceTransformer

    from sidecar.prepare.probes import probe_texts

    model = SentenceTransformer(str(folder), device="cpu")
    rows: Float32 = model.encode(list(probe_texts()), prompt="", batch_size=8)
    return rows


def _encoder(family: str) -> Any:
    import transformers

    shared = {"vocab_size": _VOCABULARY, "initializer_range": 0.15}
    usual = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 80,
        "max_position_embeddings": MAX_TOKENS + 10,
    }
    fairseq = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    match family:
        case "bert":
            return transformers.BertModel(transformers.BertConfig(**shared, **usual, pad_token_id=0))
        case "roberta":
            return transformers.RobertaModel(transformers.RobertaConfig(**shared, **usual, **fairseq))
        case "xlm-roberta":
            return transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**shared, **usual, **fairseq))
        case "mpnet":
            return transformers.MPNetModel(transformers.MPNetConfig(**shared, **usual, **fairseq))
        case "electra":
            return transformers.ElectraModel(
                transformers.ElectraConfig(**shared, **usual, embedding_size=32, pad_token_id=0)
            )
        case "distilbert":
            return transformers.DistilBertModel(
                transformers.DistilBertConfig(
                    **shared, dim=HIDDEN, n_layers=2, n_heads=4, hidden_dim=80, max_position_embeddings=MAX_TOKENS
                )
            )
    raise ValueError(family)


def _tokenizer(family: str) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    style = "bert" if family in {"bert", "distilbert", "electra"} else "fairseq"
    specials, opening, closing, padding = _SPECIALS[style]
    unknown = next(token for token in specials if "unk" in token.lower())
    library = Tokenizer(models.WordPiece(unk_token=unknown))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=_VOCABULARY, special_tokens=specials, show_progress=False)
    library.train_from_iterator([Path(__file__).read_text("utf-8"), _prose()], trainer)
    ends = [(token, specials.index(token)) for token in (opening, closing)]
    library.post_processor = processors.TemplateProcessing(single=f"{opening} $A {closing}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=library,
        unk_token=unknown,
        pad_token=padding,
        cls_token=opening,
        sep_token=closing,
        mask_token=specials[-1],
        model_max_length=MAX_TOKENS,
    )


def _prose() -> str:
    from sidecar.prepare.probes import probe_texts

    return "\n".join(probe_texts())
