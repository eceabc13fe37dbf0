"""GGUF files and llama.cpp: conversion, quantization, measurement and size, all in this process."""
