"""GGUF files and llama.cpp: written, quantised, measured and weighed without leaving the library."""
