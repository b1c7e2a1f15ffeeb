/* library.c: llm.h, and what reads other people's folders, compiled once for the three drivers: with -DLLM_LINKED they
   leave it out and are linked with build/llm.o (Makefile). `cc train_gpt.c -lm` needs none of this. */

#define LLM_IMPLEMENTATION
#include "../llm.h"
#include "hf.h"
#include "checkpoint.h"
#include "scores.h"
