"""Experts on full states: trained by SAC and shipped as small safetensors, rules, or planners."""

from vmail_sim.experts.policy import Expert, ExpertPolicy, expert_path, has_expert, load_expert

__all__ = ["Expert", "ExpertPolicy", "expert_path", "has_expert", "load_expert"]
