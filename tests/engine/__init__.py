"""The engine on virtual time: properties, and what each of them once missed."""
