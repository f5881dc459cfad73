"""Features of clips from a frozen encoder, kept so that heads train in seconds."""
