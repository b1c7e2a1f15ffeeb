/* gpu.h: what known GPUs can do at most. */
#ifndef GPU_H
#define GPU_H

#include <string.h>

/* FLOP/s of a card's tensor cores for factors in bf16, sums in fp32, nothing skipped: what its maker says, or half of
   what he says "with sparsity". name: as the driver tells it. 0: a card that is not in the table. */
static inline double gpu_peak(const char *name) {
    static const struct { const char *part; double tflops; } known[] = {        /* the first that is in the name */
        {"B200", 2250},      {"GH200", 989},     {"H200", 989},      {"H100 PCIe", 756},    {"H100 NVL", 835},
        {"H100", 989},       {"H800", 989},      {"A100", 312},      {"A800", 312},         {"NVIDIA A30", 165},
        {"NVIDIA A40", 150}, {"L40S", 362},      {"L40", 181},       {"L4", 121},           {"RTX 6000 Ada", 364},
        {"RTX A6000", 155},  {"RTX 5090", 209},  {"RTX 4090", 165},  {"RTX 3090", 71},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(name, known[i].part)) return known[i].tflops * 1e12;
    return 0;
}

#endif
