"""Job specs: what each result is made from, as the one param of its rule."""
