"""Parts of the evaluation `generation`: documents, answers, a sandbox, and statistics of texts."""
