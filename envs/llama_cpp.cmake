# Read by CMake before it configures llama-cpp-python, which asks for llama.cpp's library of command-line tools. Nothing
# in Python uses it, and 55 of 140 build steps are for it. A plain variable has priority over a cached one.
set(LLAMA_BUILD_COMMON OFF)
