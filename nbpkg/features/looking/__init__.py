"""Crops of followed faces, and what is found out about each of them before anything is learnt."""
