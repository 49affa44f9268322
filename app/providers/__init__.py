"""How judges' models are reached: one protocol, Anthropic's API and any server that speaks chat completions.

No tables and no checkpoints here: a provider is given texts and returns what came back.
"""
