"""LoRA: adapters in memory, stacked layers, PEFT-format files, the adapter store on disk."""
