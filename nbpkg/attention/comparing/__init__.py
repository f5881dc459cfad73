"""How alike maps of people, of networks and of nothing at all are."""
