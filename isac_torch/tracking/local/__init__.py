"""Policies that run at the APs: what nodes measure, tell each other and do in a round, for arrays of torch and numpy alike."""
