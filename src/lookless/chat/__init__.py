"""How to talk to a model family: prompts, tool calls, final answers, coordinate frame."""
