"""The offline demo: a small Llama that the workflow trains from text every Python carries."""
