"""`to_openvino.py SOURCE INTO`: a model with 16-bit weights in OpenVINO's form, with its tokenizer.

A causal model becomes what OpenVINO-GenAI reads; an encoder becomes token vectors of ids and mask.
"""

import json
import sys
from pathlib import Path

from optimum.exporters.openvino import main_export
from optimum.intel import OVConfig

source, into = Path(sys.argv[1]), Path(sys.argv[2])
causal = "CausalLM" in json.loads((source / "config.json").read_text())["architectures"][0]
main_export(
    str(source),
    output=into,
    task="text-generation-with-past" if causal else "feature-extraction",
    ov_config=OVConfig(dtype="fp16"),
    library_name="transformers",
    convert_tokenizer=causal,
)
