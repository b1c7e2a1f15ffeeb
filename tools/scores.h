/* scores.h: what stage 3 does with scores before it learns from them. Included after llm.h; the functions stand where
   LLM_IMPLEMENTATION is defined. */
#ifndef SCORES_H
#define SCORES_H

/* llm_batch_rows for a reward model: the id `reward` (-1: none) closes each row, and the only weight, 1, is on the
   row's last token: its value is the score of the row. */
void batch_scored(llm_batch *b, const llm_sequence *s, int n, int reward, int pad);
/* Only differences of scores were learned, and their scale is chance. Divide the head by the deviation of `score` [n],
   so that a KL coefficient means the same in every run; returns the mean that is to be subtracted from then on. */
double score_normalise(llm_model *model, const double *score, int n);
/* Before the first update the ratio is 1: ends the program if not, for then the policy that sampled is not the one that
   learns (another temperature, a shift by one, dropout, a stale cache). */
void ratio_check(const llm_policy_stats *first);

#ifdef LLM_IMPLEMENTATION
void batch_scored(llm_batch *b, const llm_sequence *s, int n, int reward, int pad) {
    llm_batch_rows(b, s, n, pad);
    for (int row = 0; row < n; row++) {
        int last = s[row].count - (reward < 0);         /* its place; without <|reward|> the last id's */
        if (last >= b->T) llm_die("a larger --seq", "no place for the score behind %d tokens", s[row].count);
        size_t end = at_place(b, row, last);
        memset(b->weight + at_place(b, row, 0), 0, b->T * sizeof *b->weight);
        if (reward >= 0) b->tokens[end] = reward;
        b->positions[end] = last;
        b->start[end] = 0;
        b->weight[end] = 1;
    }
}
/* A score becomes (r - mean) / deviation, both over the answers that were compared. The head is divided, saved so, and
   has no bias: the caller keeps what is returned, mean / deviation, and subtracts it. */
double score_normalise(llm_model *model, const double *score, int n) {
    double mean = 0, var = 0;
    for (int i = 0; i < n; i++) mean += score[i] / n;
    for (int i = 0; i < n; i++) var += (score[i] - mean) * (score[i] - mean) / n;
    double deviation = var > 0 ? sqrt(var) : 1;         /* all alike: nothing to scale */
    size_t C = model->c.C;
    llm_real *head = llm_alloc(C, sizeof *head);
    param_download(model->ops, model->score, head, model->score->data, sizeof *head);
    for (size_t i = 0; i < C; i++) head[i] = head[i] / deviation;
    param_upload(model->ops, model->score, model->score->data, head, 0, C, sizeof *head);
    llm_weights_changed(model);
    llm_release(head);
    return mean / deviation;
}
/* Whatever differs between sampling and learning (mask, temperature, model) shows here, before the first update. */
void ratio_check(const llm_policy_stats *first) {
    if (!(first->largest <= 1e-5))
        llm_die("the same model, temperature, mask and code for both",
                "log-probabilities moved by %g before the first update", first->largest);
}
#endif /* LLM_IMPLEMENTATION */
#endif
