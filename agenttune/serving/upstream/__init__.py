"""The same front door before a server elsewhere: vLLM, SGLang, llama.cpp, or another of ours."""
