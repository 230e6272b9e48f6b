"""The native families. These files, flat and self-contained, are also what a Hub repository carries as remote code."""
