"""State-feedback experts: trained by SAC, shipped as small safetensors, run with numpy alone."""

from vmail_sim.experts.policy import ExpertPolicy, expert_path, load_expert

__all__ = ["ExpertPolicy", "expert_path", "load_expert"]
