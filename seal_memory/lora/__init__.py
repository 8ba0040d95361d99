"""LoRA: stacked layers, adapters in memory, PEFT-format files, the adapter store."""
