"""The published network over utterances instead of seconds: chunks, training, answers laid on frames."""
