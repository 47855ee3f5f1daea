"""What may be spent, by whom: rules, what is used of them, and how a refusal is told."""
