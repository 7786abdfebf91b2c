"""`dequantise.py SOURCE INTO`: a GGUF file's weights as bfloat16 safetensors, with its tokenizer."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

source, into = Path(sys.argv[1]), Path(sys.argv[2])
file = next(source.glob("*.gguf")).name
model = AutoModelForCausalLM.from_pretrained(
    source, gguf_file=file, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
)
model.save_pretrained(into)
AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(into)
