"""How float32 products are computed on accelerators."""

import jax


def product_precision() -> jax.lax.Precision | None:
    """Return the precision of matrix products and convolutions: full float32 unless the user asked for less.

    JAX multiplies float32 in TF32 on GPUs and in bfloat16 on TPUs by default (about 1e-3 off); PyTorch multiplies
    matrices in float32. ``jax.default_matmul_precision("tensorfloat32")``, or the configuration option of that name,
    chooses otherwise and is respected. CPUs always compute in full precision.
    """
    return None if getattr(jax.config, "jax_default_matmul_precision", None) is not None else jax.lax.Precision.HIGHEST
