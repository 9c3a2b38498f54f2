# Part of the vashista project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Causal models of transformers to evaluate: by name, of a folder, or CodeLM as one."""

from __future__ import annotations

import argparse
import inspect
import json
import pathlib
from typing import Any

import numpy as np

from .. import Error


def imported():
    """torch and transformers, or one clear error."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise Error(
            "not found",
            f"expected torch and transformers, found no {error.name}: "
            "pip install torch transformers",
        ) from None
    torch.set_grad_enabled(False)
    return torch, transformers


class Model:
    """A model, its tokenizer and text.

    Attributes:
      name: what tables call it.
      config: of transformers.
      tokenizer: or None, where there is none.
      text: the ids of held-out text, `[T]` i64.
    """

    def __init__(self, name: str, config: Any, tokenizer: Any, text: np.ndarray, load):
        self.name, self.config, self.tokenizer = name, config, tokenizer
        self.text, self._load = text, load

    def load(self, dtype: Any, device: str, attention: str = "sdpa"):
        """The weights, of a type, on a device."""
        model = self._load(dtype).eval().to(device)
        model.set_attn_implementation(attention)
        return model


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", help="a name of Hugging Face, or a folder")
    add("--codelm", type=pathlib.Path, metavar="CODELM", help="CodeLM's folder instead")
    add(
        "--text", type=pathlib.Path, metavar="TEXT",
        help="held-out text for the model's tokenizer, or its ids in a .npy; CodeLM has "
        "its own",
    )  # fmt: skip
    add("--device", default="cpu", help="of PyTorch")
    add("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    add(
        "--artefacts", type=pathlib.Path, default=pathlib.Path("build/eval"),
        help="where compiled steps are kept; what is there is not compiled again",
    )  # fmt: skip
    add("--target", help="what to compile for; default: the device")
    add("--compile-only", action="store_true", help="fill the folder of artefacts")
    add("--json", type=pathlib.Path, metavar="FILE", help="where the numbers go")
    add(
        "--markdown", type=pathlib.Path, metavar="FILE", help="where the tables go, too"
    )


def target_of(args: argparse.Namespace) -> str:
    """What to compile for: a device that is not there must be named."""
    from .._memory import memory_of

    return args.target or memory_of(args.device).target


def find(args: argparse.Namespace, text: bool = True) -> Model:
    """The model that the options name.

    text: whether held-out text is needed.
    """
    _, transformers = imported()
    if (args.model is None) == (args.codelm is None):
        raise ValueError("expected --model or --codelm, got both or none")
    if args.codelm:
        return _codelm(args.codelm)
    config = transformers.AutoConfig.from_pretrained(args.model)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    except (OSError, ValueError):
        tokenizer = None

    def load(dtype):
        return transformers.AutoModelForCausalLM.from_pretrained(
            args.model, dtype=dtype, attn_implementation="sdpa"
        )

    ids = _ids(args.text, tokenizer) if text else np.zeros(0, np.int64)
    return Model(pathlib.Path(args.model).name, config, tokenizer, ids, load)


def _ids(path: pathlib.Path | None, tokenizer) -> np.ndarray:
    if path is None:
        raise ValueError("expected --text, held-out text for the model, got none")
    if path.suffix == ".npy":
        return np.load(path).astype(np.int64).ravel()
    if tokenizer is None:
        raise ValueError(
            f"{path}: expected ids in a .npy for a model without tokenizer"
        )
    return np.asarray(tokenizer(path.read_text())["input_ids"], np.int64)


#: The names of CodeLM's weights in a block, and Llama's.
_NAMES = {
    "n1": "input_layernorm",
    "n2": "post_attention_layernorm",
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "w1": "mlp.gate_proj",
    "w3": "mlp.up_proj",
    "w2": "mlp.down_proj",
}


def _codelm(folder: pathlib.Path) -> Model:
    """CodeLM as a Llama, which it is but for the names of its weights."""
    torch, transformers = imported()
    from ._decoder import Arrays, Decoder

    meta = json.loads((folder / "weights.json").read_text())
    cfg = meta["cfg"]
    config = transformers.LlamaConfig(
        vocab_size=cfg["vocab"],
        hidden_size=cfg["d"],
        intermediate_size=cfg["ff"],
        num_hidden_layers=cfg["layers"],
        num_attention_heads=cfg["hq"],
        num_key_value_heads=cfg["hkv"],
        head_dim=cfg["hd"],
        max_position_embeddings=131072,
        rms_norm_eps=float(np.finfo(np.float32).eps),
        rope_parameters={"rope_type": "default", "rope_theta": cfg["theta"]},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    decoder = Decoder(folder, Arrays("numpy"))

    def load(dtype):
        state = {
            "model.embed_tokens.weight": decoder.weights["emb.weight"],
            "model.norm.weight": decoder.weights["nf.weight"],
        }
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
        for layer in range(cfg["layers"]):
            for ours, theirs in _NAMES.items():
                weight = decoder.weights[f"blocks.{layer}.{ours}.weight"]
                state[f"model.layers.{layer}.{theirs}.weight"] = weight
        model = transformers.LlamaForCausalLM(config)
        model.load_state_dict({n: torch.from_numpy(w) for n, w in state.items()})
        return model.to(dtype)

    tokenizer = None
    if (folder / "tokenizer.json").exists():
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json")
        )
    return Model("CodeLM", config, tokenizer, decoder.tokens, load)


def cache_name(model) -> str:
    """What the model's code calls a cache, which changed."""
    known = inspect.signature(model.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def call(model, ids, cache, **options):
    """A model's output for ids `[B, T]`."""
    return model(ids, **{cache_name(model): cache}, use_cache=True, **options)


def prefill(model, ids, cache, chunk: int):
    """Reads ids `[B, T]` in chunks; returns the logits after the last one `[B, V]`."""
    logits = None
    for start in range(0, ids.shape[1], chunk):
        part = ids[:, start : start + chunk]
        logits = call(model, part, cache, logits_to_keep=1).logits
    return logits[:, -1]
