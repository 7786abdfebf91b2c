"""The front: answers InferenceService, text in and text out, by composing the tokenizer and the workers."""
