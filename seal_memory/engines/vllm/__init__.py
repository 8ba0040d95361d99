"""A vLLM server over HTTP as the engine that answers. Not here: prompts and tokens (`engines.encoding`), training."""
