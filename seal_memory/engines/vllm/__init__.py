"""vLLM engine: answers from a vLLM server over HTTP. Not here: prompts and tokens (`engines.encoding`), training."""
