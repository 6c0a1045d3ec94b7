"""The tracking system: multi-antenna APs serve UEs and track targets (Liesegang, Buzzi, D'Andrea, 2025)."""
