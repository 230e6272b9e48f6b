"""From a model in memory to a Hub repository: export, remote-code files, card."""
