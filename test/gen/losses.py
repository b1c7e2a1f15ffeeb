#!/usr/bin/env python3
"""What trl and PyTorch make of the losses of chapter 10, values and gradients in float64.

    python3 test/gen/losses.py [test/data]        (needs torch, trl)

Writes test/data/losses/{scores,policy,preferences}.json, each a list of cases:

    loss, oracle    which loss; "trl" if the trainer's own method computed it (called with a model that hands out given
                    log-probabilities), "torch" if the formula is written out below, differentiated by autograd
    B, T, weight    rows, places, [B*T] mask; other arrays are [B*T], or [B] where they belong to rows
    null            a place that nothing may read
    value, grad     the loss, and its gradient by the first input array of the case

Every input is a multiple of 1/4096, so that a float build reads the same numbers.
"""
import json
import os
import sys
from itertools import product
from types import SimpleNamespace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from torch.nn.functional import relu
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.utils import nanstd

torch.set_default_dtype(torch.float64)
torch.manual_seed(20)
cases = []


# ---- numbers in, numbers out ----

def exact(x):
    return (torch.as_tensor(x) * 4096).round() / 4096


def normal(*shape, mean=0.0, deviation=1.0):
    return exact(mean + deviation * torch.randn(*shape))


def leaf(x):
    return x.detach().clone().requires_grad_(True)


def places(x, mask):
    """A masked array as the file has it: null where the mask is 0."""
    return [v if m else None for v, m in zip(x.flatten().tolist(), mask.flatten().tolist())]


def case(name, oracle, value=None, grad=None, mask=None, **fields):
    c = {"loss": name, "oracle": oracle}
    if mask is not None:
        c |= {"B": mask.shape[0], "T": mask.shape[1], "weight": mask.flatten().tolist()}
    for key, x in fields.items():
        if isinstance(x, torch.Tensor):
            x = places(x, mask) if mask is not None and x.shape == mask.shape else x.flatten().tolist()
        c[key] = x
    if value is not None:
        c["value"] = float(torch.as_tensor(value).detach())
    if grad is not None:
        c["grad"] = grad.flatten().tolist()
    cases.append(c)


def write(root, name):
    with open(os.path.join(root, "losses", name + ".json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    print(f"{name}: {len(cases)} cases, {sum(c['oracle'] == 'trl' for c in cases)} of them by trl")
    cases.clear()


def ragged(B, T, prompts, lengths):
    mask = torch.zeros(B, T)
    for b in range(B):
        mask[b, prompts[b]:prompts[b] + lengths[b]] = 1
    return mask


# ---- trl's trainers without a model: self has what the method looks up, the model returns what it is given ----

class Alone:
    """Accelerator of one process."""
    device, num_processes, sync_gradients = torch.device("cpu"), 1, True
    gather = gather_for_metrics = staticmethod(lambda x: x)
    reduce = staticmethod(lambda x, reduction: x)


class Metrics(dict):
    def __missing__(self, key):
        self[key] = []
        return self[key]


def trainer(**settings):
    return SimpleNamespace(accelerator=Alone, model=SimpleNamespace(training=True), aux_loss_enabled=False, _tp_size=1,
                           _total_train_tokens=0, _metrics={"train": Metrics()}, **settings)


def hands_out(log_probs):
    """A model's answer to trl: log-probabilities (B,T) of the targets, 0 where the label is masked."""
    nothing = torch.zeros_like(log_probs)
    return SimpleNamespace(log_probs=log_probs, entropy=nothing, mean_logits=nothing, is_top1=nothing > 0)


def shifted(mask):
    """trl masks tokens, we mask targets: one place to the right, the first token is nobody's target."""
    return torch.cat([torch.zeros(len(mask), 1), mask], 1)


def ids(mask):
    return torch.ones_like(shifted(mask)).long()


# ---- scores: the reward model ----

def trl_pairs(r, margin, centre):
    self = trainer(args=SimpleNamespace(center_rewards_coefficient=centre))
    inputs = {"attention_mask": torch.ones(len(r), 1)} | ({} if margin is None else {"margin": margin})

    def model(**kw):
        return SimpleNamespace(logits=torch.cat([r[0::2], r[1::2]]).unsqueeze(1))
    return RewardTrainer.compute_loss(self, model, inputs)


def pairs_of(rank):
    return [(i, j) for i, j in product(range(len(rank)), repeat=2) if rank[i] < rank[j]]


def scores():
    for margin, centre in ((None, None), (exact([0.25, 1.0, 0.0, 2.5]), None), (exact([0.5, 0.0, 1.5, 0.125]), 0.01)):
        r = leaf(normal(8, deviation=2))
        loss = trl_pairs(r, margin, centre)
        loss.backward()
        case("pair", "trl", loss, r.grad, scores=r.detach(), margin=margin, centre=centre or 0.0, total=4.0)
    for rank in ([0, 1], [2, 2, 1, 0], [3, 0, 1, 1, 2, 0], [1, 1, 1], list(range(9))):
        total = 3.0                                         # of a step that holds three such prompts
        r = leaf(normal(len(rank), deviation=2))
        pairs = pairs_of(rank)
        loss = -sum(torch.log(torch.sigmoid(r[i] - r[j])) for i, j in pairs) / max(len(pairs), 1) / total
        if pairs:
            loss.backward()
        gradient = r.grad if pairs else torch.zeros(len(rank))
        case("kwise", "torch", loss, gradient, scores=r.detach(), rank=rank, total=total)
        r = leaf(r)
        worse = [[i] + [j for j in range(len(rank)) if rank[j] > rank[i]] for i in range(len(rank))]
        loss = -sum(torch.log_softmax(r[w], 0)[0] for w in worse) / total
        loss.backward()
        case("plackett-luce", "torch", loss, r.grad, scores=r.detach(), rank=rank, total=total)


# ---- policy: PPO, GRPO ----

def trl_policy(logp, old, advantage, mask, *, kind, low, high, ref=None, beta=0.0, total=None, longest=0, entropy=None,
               bonus=0.0):
    self = trainer(top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level="token",
                   loss_type=kind, epsilon_low=low, epsilon_high=high, use_vllm=False, beta=beta,
                   current_gradient_accumulation_steps=1, max_completion_length=longest, use_adaptive_entropy=False,
                   _entropy_bonus_enabled=bonus != 0, entropy_coef=bonus,
                   args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1))
    entropy = torch.zeros_like(logp) if entropy is None else entropy
    self._get_per_token_logps_and_entropies = lambda *a, **k: (logp, entropy, None)
    inputs = {"prompt_ids": ids(mask)[:, :1], "prompt_mask": ids(mask)[:, :1], "completion_ids": mask.long(),
              "completion_mask": mask, "advantages": advantage, "old_per_token_logps": old, "ref_per_token_logps": ref,
              "num_items_in_batch": torch.tensor(total or 0.0)}
    return GRPOTrainer._compute_loss(self, None, inputs)


def ppo():
    """Seven ratios from far below to far above the band, each with an advantage of either sign, and with none."""
    ratio = torch.tensor([0.4, 0.79, 0.81, 1.0, 1.19, 1.21, 2.5])
    mask = ragged(3, 10, [1, 2, 0], [7, 7, 8])
    old, advantage = normal(3, 10, mean=-2), torch.zeros(3, 10)
    logp = old.clone()
    for b, sign in enumerate((1.0, -1.0, 0.0)):
        start = int(mask[b].argmax())
        logp[b, start:start + 7] = exact(old[b, start:start + 7] + ratio.log())
        advantage[b, start:start + 7] = sign * exact(0.5 + torch.rand(7))
    advantage[2, 7], logp[2, 7] = 1.5, old[2, 7]
    for low, total in ((0.2, 22.0), (0.1, 40.0)):           # alone, and as a part of a larger step
        x = leaf(logp)
        loss = trl_policy(x, old, advantage, mask, kind="dapo", low=low, high=low, total=total)
        loss.backward()
        case("ppo", "trl", loss, x.grad, mask, logp=x.detach(), old=old, advantage=advantage, clip=low, total=total)


def value():
    """Where the new value lies against the band around the old one, and where the return: every combination."""
    moved = torch.tensor([-0.9, -0.3, -0.1, 0.0, 0.1, 0.3, 0.9])
    back = torch.tensor([-1.5, -0.4, -0.05, 0.05, 0.4, 1.5])
    mask = ragged(7, 8, [0, 1, 2, 0, 1, 2, 1], [6] * 7)
    old, V, ret = normal(7, 8), torch.zeros(7, 8), torch.zeros(7, 8)
    for b in range(7):
        s = slice(int(mask[b].argmax()), int(mask[b].argmax()) + 6)
        V[b, s], ret[b, s] = exact(old[b, s] + moved[b]), exact(old[b, s] + back)
    for clip, total in ((0.2, 42.0), (0.2, 99.0), (0.0, 42.0)):
        x = leaf(V)
        free, kept = (x - ret) ** 2, (torch.clamp(x, old - clip, old + clip) - ret) ** 2
        worse = torch.maximum(free, kept) if clip else free
        loss = 0.1 * 0.5 * (worse * mask).sum() / total
        loss.backward()
        if clip:
            assert set(torch.sign(free - kept)[mask > 0].tolist()) == {-1.0, 0.0, 1.0}
        case("value", "torch", loss, x.grad, mask, values=x.detach(), old=old, ret=ret, coefficient=0.1, clip=clip,
             total=total)


def rollout():
    """Rewards, advantages, whitening. Advantages by solving (1 - gamma lambda S) A = d, S the shift by one token."""
    mask = ragged(4, 9, [2, 0, 4, 1], [5, 9, 1, 7])
    old, ref, V, score = normal(4, 9, mean=-2), normal(4, 9, mean=-2), normal(4, 9), normal(4, deviation=2)
    kl = ((old - ref) * mask).sum(1)
    for beta, gamma, lam in ((0.05, 1.0, 0.95), (0.0, 0.99, 0.9), (0.5, 1.0, 1.0), (0.2, 0.9, 0.0)):
        reward, advantage, ret = torch.zeros(4, 9), torch.zeros(4, 9), torch.zeros(4, 9)
        for b in range(4):
            on = mask[b].nonzero().flatten()
            r, v, n = -beta * (old - ref)[b, on], V[b, on], len(on)
            r = torch.cat([r[:-1], r[-1:] + score[b]])
            d = r + gamma * torch.cat([v[1:], torch.zeros(1)]) - v
            A = torch.linalg.solve(torch.eye(n) - gamma * lam * torch.diag(torch.ones(n - 1), 1), d)
            reward[b, on], advantage[b, on], ret[b, on] = r, A, A + v
        x, n = advantage[mask > 0], int(mask.sum())
        mean, var = x.mean(), x.var(unbiased=True)
        white, scaled = torch.zeros(4, 9), torch.zeros(4, 9)
        white[mask > 0] = (x - mean) * torch.rsqrt(var + 1e-8)
        scaled[mask > 0] = (x - mean) * torch.rsqrt(var + 1e-8) + mean
        case("rollout", "torch", kl.mean(), None, mask, old=old, ref=ref, values=V, score=score, beta=beta, gamma=gamma,
             reward=reward, advantage=advantage, ret=ret, white=white, scaled=scaled, **{"lambda": lam})


def kl():
    d = exact(torch.tensor([-3.0, -1.0, -0.3, -0.01, 0.0, 0.01, 0.3, 1.0, 3.0]))
    for k, f in ((1, lambda d: d), (2, lambda d: d ** 2 / 2), (3, lambda d: torch.exp(-d) - 1 + d)):
        x = leaf(d)
        y = f(x)
        y.sum().backward()
        case("kl", "torch", None, x.grad, d=d, k=k, values=y.detach())


def grpo():
    reward = torch.cat([exact([1.0, 0.0, 0.0, 1.0]), exact([2.0, 2.0, 2.0, 2.0]), normal(4, deviation=3)])
    group = reward.view(-1, 4)
    centred = (group - group.mean(1, keepdim=True)).flatten()
    std = nanstd(group, dim=1).repeat_interleave(4)
    others = ((group.sum(1, keepdim=True) - group) / 3).flatten()
    case("advantages", "torch", None, None, reward=reward, group=4, norm=centred / (std + 1e-4), mean=centred,
         rloo=reward - others)
    mask = ragged(4, 11, [1, 0, 3, 2], [10, 4, 1, 7])
    old, ref, A = normal(4, 11, mean=-2), normal(4, 11, mean=-2), exact([1.5, -0.75, 0.25, -1.25])
    logp = exact(old + 0.4 * torch.randn(4, 11))
    ratio = (logp - old).exp()[mask > 0]
    assert (ratio > 1.28).any() and (ratio < 0.8).any() and ((ratio > 0.8) & (ratio < 1.2)).any()
    kinds = {"grpo": "row", "dapo": "token", "dr_grpo": "longest"}
    for kind, beta, high in product(kinds, (0.0, 0.04), (0.2, 0.28)):
        x = leaf(logp)
        loss = trl_policy(x, old, A, mask, kind=kind, low=0.2, high=high, ref=ref, beta=beta, total=30.0, longest=16)
        loss.backward()
        case("grpo", "trl", loss, x.grad, mask, logp=x.detach(), old=old, ref=ref, advantage=A, low=0.2, high=high,
             beta=beta, kl=3, rows=4.0, tokens=30.0, longest=16.0, per=kinds[kind])
    x = leaf(logp)                                          # k2 in the loss: trl has k3 only
    rho = (x - old).exp()
    term = -torch.minimum(A[:, None] * rho, A[:, None] * rho.clamp(0.8, 1.2)) + 0.04 * (x - ref) ** 2 / 2
    loss = (term * mask).sum() / 30
    loss.backward()
    case("grpo", "torch", loss, x.grad, mask, logp=x.detach(), old=old, ref=ref, advantage=A, low=0.2, high=0.2,
         beta=0.04, kl=2, rows=4.0, tokens=30.0, longest=16.0, per="token")
    H = leaf(exact(torch.rand(4, 11) * 3))                  # the bonus alone: no advantage
    loss = trl_policy(logp, logp, torch.zeros(4), mask, kind="bnpo", low=0.2, high=0.2, entropy=H, bonus=0.01)
    loss.backward()
    case("entropy", "trl", loss, H.grad, mask, entropy=H.detach(), coefficient=0.01, total=float(mask.sum()))


# ---- preferences: DPO and relatives, KTO, RRHF ----

def trl_dpo(logp, ref, mask, types, weights, beta, flip):
    """Our pairs lie side by side; trl wants all chosen rows first."""
    order = torch.cat([torch.arange(0, len(mask), 2), torch.arange(1, len(mask), 2)])
    self = trainer(ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=types,
                   loss_weights=weights, beta=beta, label_smoothing=flip, use_weighting=False)
    m = mask[order]
    ref_sums = (ref * mask).sum(1)[order]
    inputs = {"input_ids": ids(m), "attention_mask": ids(m), "completion_mask": shifted(m),
              "ref_chosen_logps": ref_sums[:len(mask) // 2], "ref_rejected_logps": ref_sums[len(mask) // 2:]}
    return DPOTrainer._compute_loss(self, lambda **kw: hands_out(logp[order] * m), inputs, False)


def dpo():
    """One pair a call and the mean over pairs: then trl's aot_unpaired, which sorts pairs, is cDPO (of which trl has no
    other), and its sft term, a mean over the tokens of the batch, is ours, a mean over the tokens of a row."""
    mask = ragged(6, 10, [1, 1, 3, 3, 0, 0], [6, 9, 2, 7, 10, 1])
    ref = normal(6, 10, mean=-1.5)
    logp = exact(ref + 0.5 * torch.randn(6, 10))
    for kind, types, flip, sft in (("dpo", ["sigmoid"], 0.0, 0.0), ("cdpo", ["aot_unpaired"], 0.1, 0.0),
                                   ("robust", ["robust"], 0.1, 0.0), ("ipo", ["ipo"], 0.0, 0.0),
                                   ("dpo", ["sigmoid", "sft"], 0.0, 0.5), ("ipo", ["ipo", "sft"], 0.0, 0.5)):
        for beta in (0.1, 0.5):
            x = leaf(logp)
            loss = sum(trl_dpo(x[i:i + 2], ref[i:i + 2], mask[i:i + 2], types, [1.0, sft], beta, flip)
                       if sft else trl_dpo(x[i:i + 2], ref[i:i + 2], mask[i:i + 2], types, [1.0], beta, flip)
                       for i in (0, 2, 4)) / 3
            loss.backward()
            case("dpo", "trl", loss, x.grad, mask, logp=x.detach(), ref=ref, kind=kind, beta=beta, flip=flip, sft=sft,
                 total=3.0)
    x = leaf(logp)                                          # the whole batch in one call gives plain DPO, too
    assert abs(trl_dpo(x, ref, mask, ["sigmoid"], [1.0], 0.1, 0.0).item() - cases[-12]["value"]) < 1e-15


def kto():
    mask = ragged(5, 8, [1, 0, 3, 2, 1], [6, 8, 1, 4, 7])
    ref, good = normal(5, 8, mean=-1.5), [True, False, False, True, False]
    logp = exact(ref + 0.4 * torch.randn(5, 8))
    wrong_ref = normal(5, mean=-20)
    for shift, beta, w_good, w_bad in ((0.75, 0.1, 1.0, 1.0), (-0.5, 0.1, 1.5, 1.0), (0.25, 0.5, 1.0, 1.25)):
        wrong = leaf(exact(wrong_ref + shift + 0.5 * torch.randn(5)))           # answers to the next one's prompt
        x = leaf(logp)
        self = trainer(calculate_KL=True, precompute_ref_logps=True, loss_type="kto", beta=beta,
                       desirable_weight=w_good, undesirable_weight=w_bad, _compute_kl_logps=lambda model, batch: wrong)
        inputs = {"input_ids": ids(mask), "attention_mask": ids(mask), "completion_mask": shifted(mask),
                  "label": torch.tensor(good), "ref_logps": (ref * mask).sum(1), "ref_KL_logps": wrong_ref}
        loss = KTOTrainer._compute_loss(self, lambda **kw: hands_out(x * mask), inputs, False)
        loss.backward()
        assert wrong.grad is None, "the reference point has no gradient"
        case("kto", "trl", loss, x.grad, mask, logp=x.detach(), ref=ref, good=good, wrong=wrong.detach(),
             wrong_ref=wrong_ref, beta=beta, w_good=w_good, w_bad=w_bad, total=5.0,
             z0=self._metrics["train"]["kl"][0])


def rrhf():
    mask = ragged(5, 9, [1, 1, 1, 1, 1], [8, 2, 5, 4, 7])
    for reward, sft in (([0.9, 0.1, 0.5, 0.3, 0.5], 1.0), ([-1.0, 2.0, 0.0, 3.0, 1.0], 0.5),
                        ([1.0, 1.0, 0.0, 0.0, 0.0], 0.0)):
        total, x = 2.0, leaf(normal(5, 9, mean=-1.5))
        p = (x * mask).sum(1) / mask.sum(1)
        rank = sum(relu(p[i] - p[j]) for i, j in product(range(5), repeat=2) if reward[i] < reward[j])
        loss = (rank - sft * p[reward.index(max(reward))]) / total
        loss.backward()
        case("rrhf", "torch", loss, x.grad, mask, logp=x.detach(), reward=reward, sft=sft, total=total)


def main():
    torch.set_num_threads(1)
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data")
    os.makedirs(os.path.join(root, "losses"), exist_ok=True)
    scores()
    write(root, "scores")
    ppo(), value(), rollout(), kl(), grpo()
    write(root, "policy")
    dpo(), kto(), rrhf()
    write(root, "preferences")


main()
