"""What this processor has instructions for. Without them torch and oneDNN still multiply such numbers, but slower than float32."""

from __future__ import annotations

import torch

_HAS = torch.cpu.get_capabilities()  # names as of cpuinfo; a processor of another family has none of these

BFLOAT16 = bool(_HAS.get("avx512_bf16") or _HAS.get("amx_bf16"))
INT8 = bool(_HAS.get("avx512_vnni"))
