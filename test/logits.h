/* logits.h: all logits of a batch, which no stage needs: llm.h's model gives log-probabilities, llm_cache_step the logits
   of a token. Included after the implementation of llm.h. */
#ifndef LOGITS_H
#define LOGITS_H

/* (B,T,V) to the host. */
static void all_logits(llm_model *m, const llm_batch *b, llm_real *logits) {
    const size_t N = trunk_forward(m, b), bytes = llm_mul(llm_mul(N, m->c.V), sizeof *logits);
    llm_real *device = device_alloc(m->ops, bytes, 1, "logits");
    m->ops->logits(device, m->hidden, m->head->w, NULL, N, m->c.C, m->c.V);
    m->ops->download(logits, device, bytes);
    m->ops->release(device);
}

#endif
