"""The parts of the evaluation `generation`: documents, answers, code that is run, texts' statistics."""
